"""The command as a process: forked, unwound when ended, how a job ends."""
