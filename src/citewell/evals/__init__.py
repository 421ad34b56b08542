"""Evaluation: question sets, what is measured on them, how two runs compare, the report.

Free of the database and of the network: what it measures comes in as functions.
"""
