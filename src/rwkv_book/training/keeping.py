"""When a run is kept: by its steps, by the clock, and when it is stopped."""

import sys
import time

from tqdm import tqdm

from rwkv_book.training.resume import resume, save_checkpoint, write_log


class Keeper:
    """A run in its folder: where it is, in `progress`, and how that is kept.

    Rank 0 alone can keep what it has whole. What is sharded all keep together, so they
    have to agree on the step.
    """

    def __init__(self, folder, model, optimizer, ranks):
        self.folder, self.ranks = folder, ranks
        self.model, self.optimizer = model, optimizer
        self.progress = resume(folder, model, optimizer)
        self.kept, self.clock = self.progress.step, time.monotonic()
        ranks.agree(self.kept)
        log = folder / "log.json"
        if self.kept and ranks.rank == 0 and not log.exists():
            write_log(log, self.progress.log)

    def keep(self):
        """Write a checkpoint of this step."""
        with self.progress.paused():
            save_checkpoint(
                self.folder, self.model, self.optimizer, self.progress, self.ranks
            )
        self.kept, self.clock = self.progress.step, time.monotonic()

    def keep_every(self, seconds):
        """Write one if the last is so old: of sharded weights, after a line of the log.

        Then the ranks have waited for each other anyway, and rank 0 decides for all.
        """
        if self.ranks.shard and self.progress.losses:
            return
        due = time.monotonic() - self.clock >= seconds and self.is_sound()
        if self.ranks.first_says(due) if self.ranks.shard else due:
            self.keep()

    def keep_what_was_done(self, steps):
        """Keep a run that was stopped, and say on stderr how it goes on."""
        if self.ranks.rank:
            return
        done = self.progress.step
        if done > self.kept and not self.ranks.shard and self.is_sound():
            self.keep()
        goes_on = (
            f"{self.folder} keeps step {self.kept}, and the same run goes on from there"
            if self.kept
            else "nothing of it was kept"
        )
        tqdm.write(f"stopped after step {done} of {steps}: {goes_on}", sys.stderr)

    def is_sound(self):
        """Whether all weights of this rank are numbers, and so worth keeping."""
        tensors = self.model.parameters()
        if self.ranks.shard:
            tensors = (tensor.to_local() for tensor in tensors)
        return all(bool(tensor.isfinite().all()) for tensor in tensors)
