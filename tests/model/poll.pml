/*
 * An idle CPU looks for work before it halts, and others send it no interrupt meanwhile (look_for_work() in
 * sched/idle.c, sched_push() in sched/sched.c), for the model checker spin. The idle CPU has a store buffer, as x86 has:
 * what it stores reaches memory later, and its loads do not wait for it, but for a fence (FENCE: the store that clears
 * the flag is an exchange). Two wakers push one thread each; a push is a locked instruction. Checked: the CPU does not
 * stay halted with a thread in its queue (else an invalid end state: no interrupt comes).
 */
#define WAKERS 2

byte queued;    /* threads in the wake queue */
bool polling;   /* rq->polling, in memory */
bool interrupt; /* pending: the halt ends, or the handler runs at the next instruction */
bool buffered, value;
byte ran;

active proctype StoreBuffer()
{
    do
    :: atomic { buffered -> polling = value; buffered = false }
    :: ran == WAKERS -> break
    od
}

inline store(v)
{
    !buffered; /* the buffer keeps one here: the next store waits */
    atomic { value = v; buffered = true }
}

inline take()
{
    atomic { ran = ran + queued; queued = 0 }
}

active proctype Idle()
{
    do
    :: ran == WAKERS -> break
    :: else ->
        if
        :: queued -> take()
        :: !queued -> /* interrupts off */
            store(true);
            do /* looks */
            :: queued -> break
            :: !queued && !interrupt
            :: interrupt -> interrupt = false; break
            :: break /* long enough */
            od;
            store(false);
#if FENCE
            !buffered;
#endif
            if
            :: queued
            :: !queued -> interrupt; interrupt = false /* halted */
            fi
        fi
    od
}

active [WAKERS] proctype Waker()
{
    bool was_empty;
    atomic { was_empty = (queued == 0); queued++ }
    if
    :: was_empty && !polling -> interrupt = true
    :: else
    fi
}
