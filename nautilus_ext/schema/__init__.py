"""Tables (`tables`), migrations (`upgrade`) and connections (`connect`, which maps every error).

Nothing is imported here: who only connects shall not wait for SQLAlchemy and Alembic.
"""
