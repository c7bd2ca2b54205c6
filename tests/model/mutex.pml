/*
 * The lock-free mutex of sched/mutex.c for the model checker spin: lock, unlock and trylock step by step as
 * there, each atomic instruction one step. Checked: never two inside (I1), pop and sequence only touched by
 * the holder, nobody waits for ever (I2, I3: a lost hand-over is an invalid end state), and all is clean afterwards.
 * Taking the push stack and reversing it is a first-in-first-out queue taken as a whole. A waiter looks once, then
 * sleeps until it has a permit; PATIENCE is 1.
 */
#ifndef LOCKERS
#define LOCKERS 3
#define ROUNDS  1
#define TRIERS  1
#endif

#define NOBODY LOCKERS

byte count, handoff, sequence;
chan push = [LOCKERS] of { byte };
chan pop = [LOCKERS] of { byte };
bool granted[LOCKERS], insists[LOCKERS], permit[LOCKERS];
byte inside, popping, finished;

inline take_pushed()
{
    atomic {
        do
        :: nempty(push) -> push?other; pop!other
        :: empty(push) -> break
        od
    }
}

/* Looks at the oldest waiter, which stays where it is. */
inline oldest_waiter(result)
{
    popping++;
    assert(popping == 1);
    if
    :: empty(pop) -> take_pushed()
    :: nempty(pop)
    fi;
    if
    :: nempty(pop) -> pop?<result>
    :: empty(pop) -> result = NOBODY
    fi;
    popping--
}

inline remove_waiter()
{
    popping++;
    assert(popping == 1);
    if
    :: pop??[eval(me)]
    :: else -> take_pushed()
    fi;
    assert(pop??[eval(me)]);
    pop??eval(me);
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
        :: oldest_waiter(other);
            if
            :: other < NOBODY && insists[other] ->
                popping++;
                assert(popping == 1);
                pop?eval(other);
                popping--;
                granted[other] = true;
                permit[other] = true;
                break
            :: else
            fi;
            sequence++;
            token = sequence;
            handoff = token;
            if
            :: other < NOBODY -> permit[other] = true; break
            :: else
            fi;
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
    bool slept;
    for (round : 1 .. ROUNDS) {
        atomic { old = count; count++ };
        if
        :: old == 0
        :: else ->
            push!me;
            do
            :: granted[me] -> granted[me] = false; break
            :: else ->
                token = handoff;
                if
                :: token != 0 ->
                    atomic {
                        if
                        :: handoff == token -> handoff = 0; old = 1
                        :: else -> old = 0
                        fi
                    }
                :: else -> old = 0
                fi;
                if
                :: old == 1 ->
                    assert(!granted[me]);
                    remove_waiter();
                    break
                :: else
                fi;
                insists[me] = slept;
                atomic { permit[me] -> permit[me] = false };
                slept = true
            od;
            insists[me] = false;
            if
            :: slept -> permit[me] = true
            :: else
            fi;
            slept = false
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
