/* Host tests: real entries, but a TLB that host.c plays. */
#ifndef MOKA_TEST_PTE_H
#define MOKA_TEST_PTE_H

#define tlb_flush_page_local    unused_tlb_flush_page_local
#define tlb_flush_program_local unused_tlb_flush_program_local
#include "../../../../../../../kernel/arch/x86_64/pte.h"
#undef tlb_flush_page_local
#undef tlb_flush_program_local
void tlb_flush_page_local(u64 addr);
void tlb_flush_program_local(void);

#endif
