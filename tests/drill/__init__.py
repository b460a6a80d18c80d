"""Drills: kill real processes in the middle of real work, then look whether anything was lost or done twice."""
