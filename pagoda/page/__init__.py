"""The page on which an experiment is browsed: template, style sheet and scripts, and what builds it."""
