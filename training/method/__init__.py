"""The method: views, student, teachers, losses."""
