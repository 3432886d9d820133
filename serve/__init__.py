"""The read side: reads what the pipeline has made, and never writes."""
