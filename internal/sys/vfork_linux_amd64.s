#include "textflag.h"

// clone3 of asm/unistd_64.h.
#define SYS_CLONE3	435

// func vfork(args *cloneArgs, size uintptr, e *execution) (result uintptr)
//
// The new process begins at the same place with its stack empty, and with all registers but AX, CX and R11, syscall(2).
TEXT ·vfork(SB), NOSPLIT, $8-32
	MOVQ	args+0(FP), DI
	MOVQ	size+8(FP), SI
	MOVQ	e+16(FP), R12
	MOVL	$SYS_CLONE3, AX
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	MOVQ	AX, result+24(FP)
	RET
child:
	MOVQ	R12, 0(SP)
	CALL	·execute(SB)
	INT	$3
