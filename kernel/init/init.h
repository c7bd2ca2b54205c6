/* What main.c calls within this folder. */
#ifndef MOKA_INIT_H
#define MOKA_INIT_H

/* Starts a thread that calls clock_refine() during the first seconds and then ends. */
void refine_clocks(void);

#endif
