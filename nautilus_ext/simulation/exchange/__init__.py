"""The exchange itself: books, matching, accounts. Pure: no engine, no clock, no I/O; the server gives it all three."""
