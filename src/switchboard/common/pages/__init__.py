"""Pages for people, as both processes show them: one look, one policy for what a page may load.

Owns the frame that every page has, its style, the error page, and their headers. Each process has its own templates.

May import: errors.
Never imports: auth_server, http.
"""
