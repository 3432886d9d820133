"""Technical indicators over our own candles: computed with TA-Lib, handed over as Parquet, landed like any source."""
