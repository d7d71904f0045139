"""The write-up of the packaged recipe `study`: its result folders -> facts.json -> README.md with its figures.

    python -m reports.writeup results --out reports/published/study

Every number of the page is taken from facts.json, and every claim of its sentences is checked against it there.
"""
