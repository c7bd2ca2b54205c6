/*
 * The vm lock of mm/vm/lock.c for the model checker spin, each atomic step one step: writers alone, readers with
 * each other, nobody sleeps for ever (an invalid end state). The gate is a mutex here. Readers run on CPUs of their
 * own and may leave on another: a slot may fall below 0. A sleeper has a permit, as in tests/model/wake.pml.
 */
#ifndef WRITERS
#define WRITERS 2
#define READERS 2
#define ROUNDS  1
#endif
#define THREADS  (WRITERS + READERS)
#define NOBODY   THREADS
#define PATIENCE 1

bool written, reserved, gate, permit[THREADS];
short slots[2];
byte waiter = NOBODY, next = NOBODY;
byte reading, writing, finished;

inline wake(who)
{
    if
    :: who < NOBODY -> permit[who] = true
    :: else
    fi
}

inline back_out(cpu)
{
    slots[cpu]--;
    other = waiter;
    wake(other)
}

/* ok: the lock is ours (as a reader). */
inline try_read(cpu)
{
    slots[cpu]++;
    ok = !written;
    if
    :: !ok -> back_out(cpu)
    :: else
    fi
}

/* ok: no other writer has it. */
inline try_write()
{
    atomic {
        ok = !written;
        written = true
    }
}

inline wait_while_written()
{
    next = me;
    do
    :: atomic { !written -> break }
    :: atomic { written -> skip };
        atomic { permit[me] -> permit[me] = false }
    od;
    next = NOBODY;
    permit[me] = true
}

inline sum_slots()
{
    sum = slots[0];
    sum = sum + slots[1]
}

inline wait_while_read()
{
    waiter = me;
    do
    :: sum_slots();
        if
        :: sum == 0 -> break
        :: else -> atomic { permit[me] -> permit[me] = false }
        fi
    od;
    waiter = NOBODY;
    permit[me] = true
}

proctype Writer(byte me)
{
    byte other, tries, round;
    short sum;
    bool ok;
    for (round : 1 .. ROUNDS) {
        atomic {
            ok = !written && !reserved;
            if
            :: ok -> written = true
            :: else
            fi
        };
        if
        :: ok
        :: else ->
            atomic { !gate -> gate = true };
            tries = 0;
            do
            :: try_write();
                if
                :: ok -> break
                :: else
                fi;
                tries++;
                if
                :: tries == PATIENCE -> reserved = true
                :: else
                fi;
                wait_while_written()
            od;
            reserved = false;
            gate = false
        fi;
        sum_slots();
        if
        :: sum == 0
        :: else -> wait_while_read()
        fi;
        writing++;
        assert(writing == 1 && reading == 0);
        writing--;
        written = false;
        other = next;
        wake(other)
    }
    finished++
}

proctype Reader(byte me)
{
    byte other, tries, round, cpu = me % 2;
    bool ok;
    for (round : 1 .. ROUNDS) {
        slots[cpu]++;
        ok = !written && !reserved;
        if
        :: ok
        :: else ->
            back_out(cpu);
            atomic { !gate -> gate = true };
            tries = 0;
            do
            :: try_read(cpu);
                if
                :: ok -> break
                :: else
                fi;
                tries++;
                if
                :: tries == PATIENCE -> reserved = true
                :: else
                fi;
                wait_while_written()
            od;
            reserved = false;
            gate = false
        fi;
        reading++;
        assert(writing == 0);
        reading--;
        if
        :: slots[cpu]--
        :: slots[1 - cpu]-- /* it migrated */
        fi;
        other = waiter;
        wake(other)
    }
    finished++
}

init {
    byte i;
    atomic {
        for (i : 0 .. WRITERS - 1) {
            run Writer(i)
        }
        for (i : WRITERS .. THREADS - 1) {
            run Reader(i)
        }
    }
    finished == THREADS;
    assert(!written && !reserved && !gate && slots[0] + slots[1] == 0)
}
