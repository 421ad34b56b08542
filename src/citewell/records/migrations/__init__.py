"""Alembic's revisions, shipped inside the package so that the wheel can migrate by itself."""
