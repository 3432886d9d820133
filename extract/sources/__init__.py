"""One package a source; none imports another."""
