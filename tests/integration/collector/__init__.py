"""The collector's MQL5 sources, compiled against a stand-in terminal."""
