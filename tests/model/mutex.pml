/*
 * The lock-free mutex of sched/mutex.c for the model checker spin: lock, unlock and trylock step by step as
 * there, each atomic instruction one step. Checked: never two inside (I1), pop and sequence only touched by
 * the holder, nobody waits for ever (I2, I3: a lost hand-over is an invalid end state), and all is clean afterwards.
 * Taking the push stack and reversing it is a first-in-first-out queue taken as a whole.
 */
#ifndef LOCKERS
#define LOCKERS 3
#define ROUNDS  1
#define TRIERS  1
#endif

byte count, handoff, sequence;
chan push = [LOCKERS] of { byte };
chan pop = [LOCKERS] of { byte };
bool granted[LOCKERS];
byte inside, popping, finished;

inline pop_waiter(result)
{
    popping++;
    assert(popping == 1);
    if
    :: empty(pop) ->
        atomic {
            do
            :: nempty(push) -> push?result; pop!result
            :: empty(push) -> break
            od
        }
    :: nempty(pop)
    fi;
    if
    :: nempty(pop) -> pop?result
    :: empty(pop) -> result = LOCKERS
    fi;
    popping--
}

inline critical_section()
{
    inside++;
    assert(inside == 1);
    inside--
}

inline unlock()
{
    atomic { old = count; count-- };
    if
    :: old == 1
    :: else ->
        do
        :: pop_waiter(other);
            if
            :: other < LOCKERS -> granted[other] = true; break
            :: else
            fi;
            sequence++;
            token = sequence;
            handoff = token;
            if
            :: empty(push) -> break
            :: nempty(push)
            fi;
            atomic {
                if
                :: handoff == token -> handoff = 0
                :: else -> break
                fi
            }
        od
    fi
}

proctype Locker(byte me)
{
    byte old, other, token, round;
    for (round : 1 .. ROUNDS) {
        atomic { old = count; count++ };
        if
        :: old == 0
        :: else ->
            push!me;
            token = handoff;
            if
            :: token != 0 ->
                atomic {
                    if
                    :: handoff == token -> handoff = 0; old = 1
                    :: else -> old = 0
                    fi
                };
                if
                :: old == 1 ->
                    pop_waiter(other);
                    assert(other < LOCKERS);
                    granted[other] = true
                :: else
                fi
            :: else
            fi;
            granted[me];
            granted[me] = false
        fi;
        critical_section();
        unlock();
        skip;
        atomic { old = 0; other = 0; token = 0 } /* fewer states */
    }
    finished++
}

proctype Trier()
{
    byte old, other, token;
    bool mine;
    atomic {
        if
        :: count == 0 -> count = 1; mine = true
        :: else
        fi
    };
    if
    :: !mine ->
        token = handoff;
        if
        :: token != 0 ->
            atomic {
                if
                :: handoff == token -> handoff = 0; mine = true
                :: else
                fi
            };
            if
            :: mine -> count++
            :: else
            fi
        :: else
        fi
    :: else
    fi;
    if
    :: mine -> critical_section(); unlock()
    :: else
    fi;
    finished++
}

init {
    byte i;
    atomic {
        for (i : 0 .. LOCKERS - 1) {
            run Locker(i)
        }
        i = TRIERS;
        do
        :: i > 0 -> run Trier(); i--
        :: i == 0 -> break
        od
    };
    finished == LOCKERS + TRIERS;
    assert(count == 0 && handoff == 0 && empty(push) && empty(pop))
}
