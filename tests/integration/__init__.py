"""Tests against real servers, real files and the real command."""
