"""What writes the SQLite file: the simulator behind `tradehouse demo-data`."""
