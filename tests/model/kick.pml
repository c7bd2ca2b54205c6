/*
 * A thread is given work for its way back to the program while its CPU switches to it (sched_kick() and switch_to() in
 * sched/sched.c), for the model checker spin. CPU 1, which switches, has a store buffer, as x86 has: its stores reach
 * memory later, in order, and its loads do not wait for them, but for a fence. Checked: it does not stay in the program
 * with work that it has not seen (else an invalid end state: no interrupt comes).
 */
bool work;      /* thread->return_work */
bool on_cpu;    /* thread->on_cpu */
byte home;      /* thread->cpu; it ran on CPU 0 before */
bool kicked[2]; /* an interrupt is pending there */
bool home_buffered, on_cpu_buffered, seen;

active proctype StoreBuffer()
{
    do
    :: atomic { home_buffered -> home = 1; home_buffered = false }
    :: atomic { !home_buffered && on_cpu_buffered -> on_cpu = true; on_cpu_buffered = false }
    :: seen -> break
    od
}

active proctype Cpu1()
{
    home_buffered = true;
    on_cpu_buffered = true;
#if FENCE
    !home_buffered && !on_cpu_buffered;
#endif
    do
    :: work -> break
    :: !work -> /* the program runs */
        kicked[1];
        kicked[1] = false
    od;
    seen = true
}

active proctype Sender()
{
    byte cpu;
    work = true; /* by an exchange: in memory at once */
    cpu = home;
    if
    :: on_cpu -> kicked[cpu] = true
    :: !on_cpu /* it will look before it runs */
    fi
}
