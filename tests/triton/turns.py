"""In which order the programs of a kernel run on the CPU."""

import threading

FOREVER = 10_000  # a wait of as many tries or more ends at once where nothing can end it


class Turns:
    """Whose turn it is. A program has it until it waits or ends.

    Then the next in turn has it, of those that need not wait or for which something was written
    since they last looked. With `order` it is the first of these in that order, and it changes
    whenever something was told too: what comes last in it goes on only when nothing else can.
    """

    def __init__(self, programs, order):
        self.queue, self.order = list(programs), order
        self.writes, self.failed = 0, False
        self.locks = {program: threading.Semaphore(0) for program in programs}
        self.seen = dict.fromkeys(programs, -1)

    def next(self):
        """Gives the turn to one in the queue; whether that one may be able to go on."""
        waiting = sorted(self.queue, key=self.order.index) if self.order else self.queue
        able = [program for program in waiting if self.seen[program] < self.writes]
        if waiting:
            self.locks[(able or waiting)[0]].release()
        return bool(able)

    def begin(self, program):
        self.locks[program].acquire()
        self.queue.remove(program)

    def leave(self, program, seen):
        self.seen[program] = seen
        self.queue.append(program)
        may_go_on = self.next()
        self.begin(program)
        return may_go_on

    def wait(self, program, tries):
        hope = self.leave(program, self.writes)
        if self.failed or not (hope or tries < FOREVER):
            raise TimeoutError("a program waits for another that does not come")

    def told(self, program):
        if self.order:
            self.leave(program, -1)
