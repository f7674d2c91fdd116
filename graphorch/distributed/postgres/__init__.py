"""Tables of a PostgreSQL database by which workers find their runs, and each other."""
