"""Extract and load: from the sources into staging. What the rows mean is decided in SQL, by dbt."""
