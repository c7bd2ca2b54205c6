/*
 * Sleep, wake-up and the wake queues (sched/wake.h, sched/sched.c) for the model checker spin: one thread that
 * sleeps until each of WAKERS wakers has made its condition true, with or without a deadline, on two CPUs. Checked:
 * it is never queued twice, runs on one CPU only, is not run before it has left its stack, its deadline is only
 * touched by the CPU that keeps it, and no wake-up is lost (else an invalid end state). EXPIRE_FIRST: what a CPU does
 * first about a deadline that has come, end the sleep (1) or take it out of its timers; only the one is right.
 */
#define WAKERS 3
#define NONE   0
#define PERMIT 1
#define ASLEEP 2

byte wait = NONE;
bool queued[2];    /* the thread is in this CPU's wake queue */
bool kicked[2];    /* an interrupt is pending there */
bool on_cpu;       /* the thread has not left its stack */
byte home;         /* thread->cpu */
bool timer_armed;  /* in home's timer tree */
bool done;
byte running, conditions, woken;

inline take_from_queue(c)
{
    atomic {
        queued[c] = false;
        if
        :: timer_armed -> assert(home == c); timer_armed = false
        :: else
        fi
    }
}

inline expire()
{
    atomic {
        expired = wait == ASLEEP;
        if
        :: expired -> wait = NONE
        :: else
        fi
    }
}

proctype Cpu(byte c; bool first)
{
    bool expired;
    if
    :: first -> goto run_it
    :: else -> goto idle
    fi;
run_it:
    atomic { assert((!on_cpu || home == c) && !timer_armed); on_cpu = true; home = c; running++; assert(running == 1) };
again:
    wait = NONE; /* takes the permit */
    if
    :: conditions == WAKERS -> atomic { running--; done = true; goto idle }
    :: else
    fi;
    if
    :: timer_armed = true
    :: skip
    fi;
    atomic {
        if
        :: wait == NONE -> wait = ASLEEP
        :: else -> timer_armed = false; goto again
        fi
    };
    /* schedule(): the queue is looked at before the switch */
    if
    :: queued[c] -> take_from_queue(c); goto again
    :: !queued[c]
    fi;
    running--;
    on_cpu = false;
idle:
    if
    :: queued[c] -> take_from_queue(c); goto run_it
    :: timer_armed && home == c -> /* expire_timers() */
       if
       :: EXPIRE_FIRST -> expire(); timer_armed = false
       :: else -> timer_armed = false; expire()
       fi;
       if
       :: expired -> goto run_it
       :: else -> goto idle /* a waker queues it */
       fi
    :: atomic { !queued[c] && kicked[c] -> kicked[c] = false }; goto idle
    :: done && woken == WAKERS && !queued[c] /* the end */
    fi
}

proctype Waker()
{
    byte old, target;
    bool was_empty;
    conditions++;
    atomic { old = wait; wait = PERMIT };
    if
    :: old == ASLEEP ->
        if
        :: on_cpu -> target = home
        :: else ->
            if
            :: timer_armed -> target = home
            :: else ->
                if
                :: target = 0
                :: target = 1
                fi
            fi
        fi;
        atomic { assert(!queued[0] && !queued[1]); was_empty = !queued[target]; queued[target] = true };
        if
        :: was_empty -> kicked[target] = true
        :: else
        fi
    :: else
    fi;
    woken++
}

init {
    byte i;
    atomic {
        run Cpu(0, true);
        run Cpu(1, false);
        for (i : 1 .. WAKERS) {
            run Waker()
        }
    }
}
