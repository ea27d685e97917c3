"""Pages for people: the templates, the cookies of a browser, and the page about a sign-in that does not work.

May import: store, leaves.
Never imports: endpoints, grants.
"""
