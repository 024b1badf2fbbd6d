#include "textflag.h"

// Byte constants, broadcast at the start: 0x20, 'a', 25, '0', 9.
DATA classes<>+0(SB)/1, $0x20
DATA classes<>+1(SB)/1, $0x61
DATA classes<>+2(SB)/1, $25
DATA classes<>+3(SB)/1, $0x30
DATA classes<>+4(SB)/1, $9
GLOBL classes<>(SB), RODATA|NOPTR, $8

// A byte is a letter if ((byte | 0x20) - 'a') <= 25 and a digit if (byte - '0') <= 9, both
// unsigned; x <= k is min(x, k) == x. IN: the bytes in SRC; OUT: 0xff where alphanumeric.
#define ALNUM(SRC, OUT, TMP) \
	VPOR    SRC, Y11, OUT      \
	VPSUBB  Y12, OUT, OUT      \
	VPMINUB Y13, OUT, TMP      \
	VPCMPEQB TMP, OUT, OUT     \
	VPSUBB  Y14, SRC, TMP      \
	VPMINUB Y15, TMP, SRC      \
	VPCMPEQB SRC, TMP, TMP     \
	VPOR    TMP, OUT, OUT

// func classifyBlocksAVX2(text *byte, out *uint64, n int) int
TEXT ·classifyBlocksAVX2(SB), NOSPLIT, $0-32
	MOVQ text+0(FP), SI
	MOVQ out+8(FP), DI
	MOVQ n+16(FP), CX
	XORQ AX, AX
	VPBROADCASTB classes<>+0(SB), Y11
	VPBROADCASTB classes<>+1(SB), Y12
	VPBROADCASTB classes<>+2(SB), Y13
	VPBROADCASTB classes<>+3(SB), Y14
	VPBROADCASTB classes<>+4(SB), Y15

loop:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	VPOR      Y0, Y1, Y2
	VPMOVMSKB Y2, DX
	TESTL     DX, DX
	JNZ       done
	ALNUM(Y0, Y3, Y4)
	ALNUM(Y1, Y5, Y6)
	VPMOVMSKB Y3, R8
	VPMOVMSKB Y5, R9
	SHLQ      $32, R9
	ORQ       R9, R8
	MOVQ      R8, (DI)(AX*8)
	ADDQ      $64, SI
	INCQ      AX
	CMPQ      AX, CX
	JLT       loop

done:
	VZEROUPPER
	MOVQ AX, ret+24(FP)
	RET
