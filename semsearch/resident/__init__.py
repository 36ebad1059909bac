"""A process that stays, with everything imported and models opened, and runs commands in children that it forks.

A child runs the ordinary command with the caller's streams, folder and environment, and ends. So answers, output and
exit codes are those of a run without it, and nothing is left of one run for the next.
"""
