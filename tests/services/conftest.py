"""Tests on what operators run. Programs that a failed test leaves behind end with the session."""

from tests.e2e.conftest import _nothing_is_left  # noqa: F401 - a fixture
