"""A Parquet catalog as a live data source."""
