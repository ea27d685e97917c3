"""The people and workers of the pages of `account`, for the console."""

from tests.account.conftest import mcp_token, open_house, provider

__all__ = ["mcp_token", "open_house", "provider"]
