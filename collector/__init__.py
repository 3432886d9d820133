"""What writes the SQLite file: `mql5/`, a program for the terminal, and the simulator behind `tradehouse demo-data`."""
