#include "textflag.h"

// Byte constants, broadcast at the start: 0x20, 'a', 25, '0', 9, '_'.
DATA classes<>+0(SB)/1, $0x20
DATA classes<>+1(SB)/1, $0x61
DATA classes<>+2(SB)/1, $25
DATA classes<>+3(SB)/1, $0x30
DATA classes<>+4(SB)/1, $9
DATA classes<>+5(SB)/1, $0x5f
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

// func classifyAVX2(text *byte, out *uint64, n int) int
TEXT ·classifyAVX2(SB), NOSPLIT, $0-32
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

// Byte constants for white space: ' ', '\t', 4, 0x1c, 3; for suspects: 0xc2, 0xe1, 2.
DATA spaces<>+0(SB)/1, $0x20
DATA spaces<>+1(SB)/1, $0x09
DATA spaces<>+2(SB)/1, $4
DATA spaces<>+3(SB)/1, $0x1c
DATA spaces<>+4(SB)/1, $3
DATA spaces<>+5(SB)/1, $0xc2
DATA spaces<>+6(SB)/1, $0xe1
DATA spaces<>+7(SB)/1, $2
GLOBL spaces<>(SB), RODATA|NOPTR, $8

// White space is ' ', '\t' to '\r' and 0x1c to 0x1f; suspects are 0xc2 and 0xe1 to 0xe3. IN:
// the bytes in SRC; OUT: 0xff in SPACE and SUSPECT where so.
#define SPACES(SRC, SPACE, SUSPECT, TMP, TMP2) \
	VPCMPEQB SRC, Y8, SPACE      \
	VPSUBB   Y9, SRC, TMP        \
	VPMINUB  Y10, TMP, TMP2      \
	VPCMPEQB TMP, TMP2, TMP      \
	VPOR     TMP, SPACE, SPACE   \
	VPSUBB   Y11, SRC, TMP       \
	VPMINUB  Y12, TMP, TMP2      \
	VPCMPEQB TMP, TMP2, TMP      \
	VPOR     TMP, SPACE, SPACE   \
	VPCMPEQB SRC, Y13, SUSPECT   \
	VPSUBB   Y14, SRC, TMP       \
	VPMINUB  Y15, TMP, TMP2      \
	VPCMPEQB TMP, TMP2, TMP      \
	VPOR     TMP, SUSPECT, SUSPECT

// func classifySpaceAVX2(text *byte, space, suspects *uint64, n int)
TEXT ·classifySpaceAVX2(SB), NOSPLIT, $0-32
	MOVQ text+0(FP), SI
	MOVQ space+8(FP), DI
	MOVQ suspects+16(FP), DX
	MOVQ n+24(FP), CX
	XORQ AX, AX
	VPBROADCASTB spaces<>+0(SB), Y8
	VPBROADCASTB spaces<>+1(SB), Y9
	VPBROADCASTB spaces<>+2(SB), Y10
	VPBROADCASTB spaces<>+3(SB), Y11
	VPBROADCASTB spaces<>+4(SB), Y12
	VPBROADCASTB spaces<>+5(SB), Y13
	VPBROADCASTB spaces<>+6(SB), Y14
	VPBROADCASTB spaces<>+7(SB), Y15

spaceloop:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	SPACES(Y0, Y2, Y3, Y6, Y7)
	SPACES(Y1, Y4, Y5, Y6, Y7)
	VPMOVMSKB Y2, R8
	VPMOVMSKB Y4, R9
	SHLQ      $32, R9
	ORQ       R9, R8
	MOVQ      R8, (DI)(AX*8)
	VPMOVMSKB Y3, R8
	VPMOVMSKB Y5, R9
	SHLQ      $32, R9
	ORQ       R9, R8
	MOVQ      R8, (DX)(AX*8)
	ADDQ      $64, SI
	INCQ      AX
	CMPQ      AX, CX
	JLT       spaceloop
	VZEROUPPER
	RET

// func classifyRunsAVX2(text *byte, mask, special *uint64, n int)
TEXT ·classifyRunsAVX2(SB), NOSPLIT, $0-32
	MOVQ text+0(FP), SI
	MOVQ mask+8(FP), DI
	MOVQ special+16(FP), DX
	MOVQ n+24(FP), CX
	XORQ AX, AX
	VPBROADCASTB classes<>+5(SB), Y10
	VPBROADCASTB classes<>+0(SB), Y11
	VPBROADCASTB classes<>+1(SB), Y12
	VPBROADCASTB classes<>+2(SB), Y13
	VPBROADCASTB classes<>+3(SB), Y14
	VPBROADCASTB classes<>+4(SB), Y15

runloop:
	// Special bytes are those with the high bit set, which VPMOVMSKB looks at, and "_".
	VMOVDQU   (SI), Y0
	VMOVDQU   32(SI), Y1
	VPCMPEQB  Y0, Y10, Y2
	VPOR      Y0, Y2, Y2
	VPMOVMSKB Y2, R8
	VPCMPEQB  Y1, Y10, Y2
	VPOR      Y1, Y2, Y2
	VPMOVMSKB Y2, R9
	SHLQ      $32, R9
	ORQ       R9, R8
	MOVQ      R8, (DX)(AX*8)
	ALNUM(Y0, Y3, Y4)
	ALNUM(Y1, Y5, Y6)
	VPMOVMSKB Y3, R10
	VPMOVMSKB Y5, R9
	SHLQ      $32, R9
	ORQ       R9, R10
	ORQ       R8, R10
	MOVQ      R10, (DI)(AX*8)
	ADDQ      $64, SI
	INCQ      AX
	CMPQ      AX, CX
	JLT       runloop
	VZEROUPPER
	RET
