"""The database: drivers, pool, schema and what is kept in it."""
