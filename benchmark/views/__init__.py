"""What people read, derived from records alone: tables, statistics, pictures, the report."""
