"""The web page of a store, and its JSON API. Needs the extra ``ui``.

``perdure ui --backend URL`` serves it; :func:`create_app` gives an ASGI app to mount anywhere::

    from starlette.applications import Starlette
    from starlette.routing import Mount
    from perdure_runtime.ui import Access, User, create_app

    access = Access(identify=lambda request: User("ann", "operator"))  # by your own login
    app = Starlette(routes=[Mount("/perdure", create_app("sqlite:///orders.db", access=access))])

PYTEST_DONT_REWRITE
"""

try:
    from ._access import Access as Access
    from ._access import Proxy as Proxy
    from ._access import User as User
    from ._access import hash_password as hash_password
    from ._access import read_access as read_access
    from ._app import create_app as create_app
except ImportError as _error:
    from perdure import UsageError

    raise UsageError("the web page needs more: pip install 'perdure[ui]'") from _error

__all__ = ["Access", "Proxy", "User", "create_app", "hash_password", "read_access"]
