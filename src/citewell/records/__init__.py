"""What PostgreSQL owns: plain functions over a connection, the workspace first."""
