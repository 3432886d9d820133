"""A terminal to compile and run the collector's MQL5 sources against, over real SQLite."""
