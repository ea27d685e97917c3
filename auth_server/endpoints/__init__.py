"""One endpoint a file: parse the request once, ask the store or a grant, answer in the RFC's terms.

May import everything of this package but `app`. An endpoint never touches Redis,
and never catches what `http.error_middleware` maps to an answer.
"""
