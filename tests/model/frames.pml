/*
 * Frames arrive while idle CPUs may look at the receive queue's ring instead of being interrupted, and the queue's thread
 * may run meanwhile on another CPU (net_idle_*() and wait_for_frames() in virtio/net.c), for the model checker spin. What
 * idle CPUs store reaches memory late, as on x86: their store buffers keep it until a locked instruction or a fence (FENCE:
 * the look at `consumer` after the first store is such an instruction). The device interrupts when it fills the entry that
 * the ring's event index names. Checked: all frames are received (else an invalid end state: no interrupt comes).
 */
#define FRAMES 2
#define IDLERS 2
#define LOOKS  2 /* of each: then something else keeps the CPU busy for ever */

mtype = { Thread, Interrupt, Idle };
mtype consumer = Thread;
short event = 0;       /* the event index, in memory */
byte used, used_next;  /* the device's index, and the thread's */
bool set;              /* pair->event */
bool interrupt;        /* pending */
bool buffered[IDLERS]; /* a store to the event index */
short value[IDLERS];

active proctype Device()
{
    byte old;
    do
    :: used < FRAMES ->
        old = used;
        used = old + 1;
        if
        :: event == old -> interrupt = true
        :: else
        fi
    :: else -> break
    od
}

active proctype Handler()
{
end:
    do
    :: atomic { interrupt -> interrupt = false; set = true }
    od
}

active [IDLERS] proctype StoreBuffer()
{
    byte me = _pid - 2;
end:
    do
    :: atomic { buffered[me] -> event = value[me]; buffered[me] = false }
    od
}

active [IDLERS] proctype Idler()
{
    byte me = _pid - 2 - IDLERS;
    bool claimed;
    byte looks;
end:
    do
    :: atomic { looks < LOOKS && consumer == Interrupt -> consumer = Idle; looks++ }
        /* none wanted */
        atomic { value[me] = used_next - 1; buffered[me] = true }
#if FENCE
        !buffered[me];
#endif
        claimed = (consumer == Idle);
        if
        :: !claimed -> set = true
        :: claimed ->
            do /* looks */
            :: used != used_next -> set = true; break
            :: break
            od;
            !buffered[me]; /* it keeps one */
            atomic { value[me] = used_next; buffered[me] = true }
            !buffered[me]; /* vq_irq_on()'s fence */
            if
            :: used != used_next -> set = true
            :: else
            fi
            atomic {
                if
                :: consumer == Idle -> consumer = Interrupt; claimed = false
                :: else
                fi
            }
            if
            :: claimed -> set = true
            :: else -> claimed = false
            fi
        fi
    od
}

active proctype Server()
{
    do
    :: consumer = Thread;
        do
        :: used_next = used;
            event = used_next;
            if
            :: used == used_next -> break
            :: else
            fi
        od;
        if
        :: used_next == FRAMES -> break
        :: else
        fi
        consumer = Interrupt;
        atomic { set -> set = false }
    od
}
