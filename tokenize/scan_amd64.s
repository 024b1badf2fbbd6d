#include "textflag.h"

// Byte constants, broadcast at the start.
DATA scanned<>+0(SB)/1, $0x20
DATA scanned<>+1(SB)/1, $0x61
DATA scanned<>+2(SB)/1, $25
DATA scanned<>+3(SB)/1, $0x30
DATA scanned<>+4(SB)/1, $9
DATA scanned<>+5(SB)/1, $4
DATA scanned<>+6(SB)/1, $0x0a
DATA scanned<>+7(SB)/1, $0x0d
DATA scanned<>+8(SB)/1, $0x27
DATA scanned<>+9(SB)/1, $0x2f
DATA scanned<>+10(SB)/1, $0xd1
GLOBL scanned<>(SB), RODATA|NOPTR, $16

DATA ones<>+0(SB)/8, $0x0101010101010101
DATA ones<>+8(SB)/8, $0x0101010101010101
DATA ones<>+16(SB)/8, $0x0101010101010101
DATA ones<>+24(SB)/8, $0x0101010101010101
GLOBL ones<>(SB), RODATA|NOPTR, $32

// The highest bits of the bytes of LOW and HIGH go to OUT, R9 is lost.
#define BITS(LOW, HIGH, OUT) \
	VPMOVMSKB LOW, OUT  \
	VPMOVMSKB HIGH, R9  \
	SHLQ      $32, R9   \
	ORQ       R9, OUT

// x <= k of unsigned bytes is min(x, k) == x. Y4 is lost.
#define RANGE(SRC, FROM, SPAN, OUT) \
	VPSUBB   FROM, SRC, OUT  \
	VPMINUB  SPAN, OUT, Y4   \
	VPCMPEQB Y4, OUT, OUT

// func classifyAVX2(text *byte, out *block, n int)
TEXT ·classifyAVX2(SB), NOSPLIT, $0-24
	MOVQ text+0(FP), SI
	MOVQ out+8(FP), DI
	MOVQ n+16(FP), CX
	VPBROADCASTB scanned<>+10(SB), Y5
	VPBROADCASTB scanned<>+0(SB), Y6
	VPBROADCASTB scanned<>+1(SB), Y7
	VPBROADCASTB scanned<>+2(SB), Y8
	VPBROADCASTB scanned<>+3(SB), Y9
	VPBROADCASTB scanned<>+4(SB), Y10
	VPBROADCASTB scanned<>+5(SB), Y11
	VPBROADCASTB scanned<>+6(SB), Y12
	VPBROADCASTB scanned<>+7(SB), Y13
	VPBROADCASTB scanned<>+8(SB), Y14
	VPBROADCASTB scanned<>+9(SB), Y15

loop:
	VMOVDQU (SI), Y0
	VMOVDQU 32(SI), Y1
	BITS(Y0, Y1, R8)
	MOVQ R8, 64(DI)

	// Bytes beyond ASCII without 0x40 go on with a character; 0xD0 and 0xD1 begin one of Cyrillic.
	VPSLLW   $1, Y0, Y2
	VPSLLW   $1, Y1, Y3
	BITS(Y2, Y3, R10)
	NOTQ     R10
	ANDQ     R8, R10
	MOVQ     R10, 72(DI)
	VPOR     ones<>(SB), Y0, Y2
	VPOR     ones<>(SB), Y1, Y3
	VPCMPEQB Y2, Y5, Y2
	VPCMPEQB Y3, Y5, Y3
	BITS(Y2, Y3, R8)
	MOVQ     R8, 80(DI)

	// Letters: ((byte | 0x20) - 'a') <= 25; those without 0x20 are capitals.
	VPOR   Y0, Y6, Y2
	VPOR   Y1, Y6, Y3
	RANGE(Y2, Y7, Y8, Y2)
	RANGE(Y3, Y7, Y8, Y3)
	BITS(Y2, Y3, R8)
	MOVQ   R8, 0(DI)
	VPSLLW $2, Y0, Y2
	VPSLLW $2, Y1, Y3
	BITS(Y2, Y3, R10)
	NOTQ   R10
	ANDQ   R10, R8
	MOVQ   R8, 8(DI)

	RANGE(Y0, Y9, Y10, Y2)
	RANGE(Y1, Y9, Y10, Y3)
	BITS(Y2, Y3, R8)
	MOVQ R8, 16(DI)

	VPCMPEQB Y0, Y6, Y2
	VPCMPEQB Y1, Y6, Y3
	BITS(Y2, Y3, R8)
	MOVQ R8, 40(DI)
	RANGE(Y0, Y10, Y11, Y2)
	RANGE(Y1, Y10, Y11, Y3)
	BITS(Y2, Y3, R10)
	ORQ  R10, R8
	MOVQ R8, 24(DI)

	VPCMPEQB Y0, Y12, Y2
	VPCMPEQB Y0, Y13, Y3
	VPOR     Y2, Y3, Y2
	VPCMPEQB Y1, Y12, Y3
	VPCMPEQB Y1, Y13, Y4
	VPOR     Y4, Y3, Y3
	BITS(Y2, Y3, R8)
	MOVQ     R8, 32(DI)

	VPCMPEQB Y0, Y14, Y2
	VPCMPEQB Y1, Y14, Y3
	BITS(Y2, Y3, R8)
	MOVQ     R8, 48(DI)
	VPCMPEQB Y0, Y15, Y2
	VPCMPEQB Y1, Y15, Y3
	BITS(Y2, Y3, R8)
	MOVQ     R8, 56(DI)

	ADDQ $64, SI
	ADDQ $120, DI
	DECQ CX
	JNZ  loop
	VZEROUPPER
	RET
