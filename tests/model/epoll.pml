/*
 * epoll's ready list and its waiters (kernel/linux/io/epoll.c), for the model checker spin: one item (LEVEL: of which
 * kind), a file that becomes ready EVENTS times, and threads that wait on the epoll: one for as long as it takes, the other
 * once, for no longer than it likes. Who is told of the file reads it until it is empty. The store that unmarks an item
 * reaches memory late, as on x86, unless an exchange makes it wait (FENCE); the rest are locked instructions, or loads after
 * them. PASS_ON: who leaves the queue looks once more whether a wake-up that was meant for the others has chosen it.
 * Checked: nobody sleeps in the end while the file is ready.
 */
#define WAITERS 2 /* 0 stays */

bool ready; /* the file */
bool marked, arrived, listed;
bool buffered; /* marked = false, on its way to memory */
byte count;    /* in the epoll's wait queue */
chan queue = [WAITERS] of { byte };
bool epoll_lock, file_lock; /* the queue's mutex: atomic steps */
bool permit[WAITERS];

#define LOCK(l)   atomic { !l -> l = true }
#define UNLOCK(l) l = false

inline wake_one(chosen)
{
    atomic {
        if
        :: nempty(queue) -> queue?chosen; queue!chosen
        :: empty(queue) -> chosen = WAITERS
        fi
    }
    if
    :: chosen < WAITERS -> permit[chosen] = true
    :: else
    fi
}

active proctype StoreBuffer()
{
end:
    do
    :: atomic { buffered -> marked = false; buffered = false }
    od
}

active [EVENTS] proctype Event()
{
    byte chosen;
    bool was;
    ready = true;
    LOCK(file_lock); /* its wait queue's mutex */
    atomic { was = marked; marked = true }
    if
    :: !was -> arrived = true
    :: else
    fi;
    if
    :: count > 0 -> wake_one(chosen)
    :: else
    fi;
    UNLOCK(file_lock)
}

inline lock_and_update_ready()
{
    atomic {
        !epoll_lock -> epoll_lock = true;
        if
        :: arrived -> arrived = false; listed = true
        :: else
        fi
    }
}

/* epoll_lock held. */
inline poll_item()
{
#if LEVEL
    got = ready;
    if
    :: !got ->
        listed = false; buffered = true;
#if FENCE
        !buffered;
#endif
        got = ready;
        if
        :: got ->
            !buffered; /* the exchange */
            atomic {
                if
                :: !marked -> marked = true; listed = true
                :: else
                fi
            }
        :: else
        fi
    :: else
    fi
#else
    listed = false; buffered = true;
#if FENCE
    !buffered;
#endif
    got = ready
#endif
}

inline collect(passes)
{
    lock_and_update_ready();
    if
    :: listed -> poll_item()
    :: else
    fi;
    any = listed;
    !buffered; /* unlocking is a locked instruction */
    UNLOCK(epoll_lock);
    if
    :: passes && any && count > 0 -> wake_one(chosen)
    :: else
    fi
}

active [WAITERS] proctype Waiter()
{
    byte me = _pid - 1 - EVENTS, chosen;
    bool got, any, late;
    do
    :: got = false; late = false;
        collect(true);
        if
        :: got -> goto leave
        :: else
        fi;
        atomic { queue!me; count++ }
        do
        :: collect(!PASS_ON);
            if
            :: got || late -> break
            :: else
            fi;
end_sleep:
            if
            :: atomic { permit[me] -> permit[me] = false }
            :: me != 0 -> late = true
            fi
        od;
        atomic { queue??eval(me); count-- }
#if PASS_ON
        if
        :: count > 0 ->
            lock_and_update_ready();
            any = listed;
            UNLOCK(epoll_lock);
            if
            :: any -> wake_one(chosen)
            :: else
            fi
        :: else
        fi;
#endif
leave:
        if
        :: got -> ready = false
        :: else
        fi;
        if
        :: me != 0 -> break
        :: else
        fi
    od
}

active proctype Judge()
{
    timeout -> assert(!ready)
}
