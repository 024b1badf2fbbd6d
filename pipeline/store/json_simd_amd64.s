#include "textflag.h"

// The marks of a string, broadcast: quote, backslash, the last control character.
DATA marks<>+0(SB)/1, $0x22
DATA marks<>+1(SB)/1, $0x5c
DATA marks<>+2(SB)/1, $0x1f
GLOBL marks<>(SB), RODATA|NOPTR, $3

// MARK sets MASK to where bytes of Y0 are marks. Y1 to Y3 are lost. A byte is at most 0x1f
// if it is the lesser of the two.
#define MARK(MASK) \
	VPCMPEQB  Y0, Y5, Y1 \
	VPCMPEQB  Y0, Y6, Y2 \
	VPMINUB   Y0, Y7, Y3 \
	VPCMPEQB  Y0, Y3, Y3 \
	VPOR      Y1, Y2, Y1 \
	VPOR      Y1, Y3, Y1 \
	VPMOVMSKB Y1, MASK

// func plainBlocksAVX2(b *byte, n int) (end int, high uint64)
TEXT ·plainBlocksAVX2(SB), NOSPLIT, $0-32
	MOVQ b+0(FP), SI
	MOVQ n+8(FP), CX
	XORQ AX, AX
	XORQ DX, DX
	VPBROADCASTB marks<>+0(SB), Y5
	VPBROADCASTB marks<>+1(SB), Y6
	VPBROADCASTB marks<>+2(SB), Y7

plainLoop:
	VMOVDQU   (SI)(AX*1), Y0
	VPMOVMSKB Y0, R8          // bytes that are not ASCII
	MARK(R9)
	TESTL     R9, R9
	JNZ       plainHit
	ORQ       R8, DX
	ADDQ      $32, AX
	DECQ      CX
	JNZ       plainLoop
	JMP       plainDone

plainHit:
	BSFL R9, R10
	ADDQ R10, AX
	MOVL $-1, R11             // leave the bits below the hit
	MOVL R10, CX
	SHLL CX, R11
	NOTL R11
	ANDL R11, R8
	ORQ  R8, DX

plainDone:
	VZEROUPPER
	MOVQ AX, end+16(FP)
	MOVQ DX, high+24(FP)
	RET

// func markBlocksAVX2(b *byte, marks *uint64, n int) bool
TEXT ·markBlocksAVX2(SB), NOSPLIT, $0-25
	MOVQ b+0(FP), SI
	MOVQ marks+8(FP), DI
	MOVQ n+16(FP), CX
	VPBROADCASTB marks<>+0(SB), Y5
	VPBROADCASTB marks<>+1(SB), Y6
	VPBROADCASTB marks<>+2(SB), Y7
	VPXOR Y8, Y8, Y8

markLoop:
	VMOVDQU (SI), Y0
	VPOR    Y0, Y8, Y8
	MARK(R8)
	VMOVDQU 32(SI), Y0
	VPOR    Y0, Y8, Y8
	MARK(R9)
	SHLQ    $32, R9
	ORQ     R9, R8
	MOVQ    R8, (DI)
	ADDQ    $64, SI
	ADDQ    $8, DI
	DECQ    CX
	JNZ     markLoop
	VPMOVMSKB Y8, AX
	TESTL   AX, AX
	SETNE   ret+24(FP)
	VZEROUPPER
	RET

// What may be wrong with two bytes that follow each other, one bit a fault, by the first's
// high half, the first's low half, and the second's high half: a fault is there if all three
// say so. From J. Keiser and D. Lemire, Validating UTF-8 In Less Than One Instruction Per
// Byte, Software: Practice and Experience 51(5), 2021, section 6.
DATA firstHigh<>+0(SB)/8, $0x0202020202020202
DATA firstHigh<>+8(SB)/8, $0x4915012180808080
GLOBL firstHigh<>(SB), RODATA|NOPTR, $16
DATA firstLow<>+0(SB)/8, $0xcbcbcb8b8383a3e7
DATA firstLow<>+8(SB)/8, $0xcbcbdbcbcbcbcbcb
GLOBL firstLow<>(SB), RODATA|NOPTR, $16
DATA secondHigh<>+0(SB)/8, $0x0101010101010101
DATA secondHigh<>+8(SB)/8, $0x01010101babaaee6
GLOBL secondHigh<>(SB), RODATA|NOPTR, $16

// The greatest bytes with which a block may end that leaves no character open.
DATA closed<>+0(SB)/8, $0xffffffffffffffff
DATA closed<>+8(SB)/8, $0xffffffffffffffff
DATA closed<>+16(SB)/8, $0xffffffffffffffff
DATA closed<>+24(SB)/8, $0xbfdfefffffffffff
GLOBL closed<>(SB), RODATA|NOPTR, $32

// 0x0f; 0xe0 - 0x80 and 0xf0 - 0x80, which leave the high bit to the first bytes of
// characters of three and four bytes; 0x80.
DATA bounds<>+0(SB)/1, $0x0f
DATA bounds<>+1(SB)/1, $0x60
DATA bounds<>+2(SB)/1, $0x70
DATA bounds<>+3(SB)/1, $0x80
GLOBL bounds<>(SB), RODATA|NOPTR, $4

// func validBlocksAVX2(b *byte, n int) bool
TEXT ·validBlocksAVX2(SB), NOSPLIT, $0-17
	MOVQ b+0(FP), SI
	MOVQ n+8(FP), CX
	VBROADCASTI128 firstHigh<>(SB), Y8
	VBROADCASTI128 firstLow<>(SB), Y9
	VBROADCASTI128 secondHigh<>(SB), Y10
	VMOVDQU        closed<>(SB), Y11
	VPBROADCASTB   bounds<>+0(SB), Y12
	VPBROADCASTB   bounds<>+1(SB), Y13
	VPBROADCASTB   bounds<>+2(SB), Y14
	VPBROADCASTB   bounds<>+3(SB), Y15
	VPXOR          Y1, Y1, Y1  // the block before
	VPXOR          Y6, Y6, Y6  // what it leaves open
	VPXOR          Y7, Y7, Y7  // faults

validLoop:
	VMOVDQU   (SI), Y0
	VPMOVMSKB Y0, AX
	TESTL     AX, AX
	JNZ       validWide
	VPOR      Y6, Y7, Y7
	VPXOR     Y6, Y6, Y6
	JMP       validNext

validWide:
	VPERM2I128 $0x21, Y0, Y1, Y2 // the last half of the block before, the first of this
	VPALIGNR   $15, Y2, Y0, Y3   // each byte's predecessor
	VPSRLW     $4, Y3, Y4
	VPAND      Y12, Y4, Y4
	VPSHUFB    Y4, Y8, Y4
	VPAND      Y12, Y3, Y5
	VPSHUFB    Y5, Y9, Y5
	VPAND      Y4, Y5, Y4
	VPSRLW     $4, Y0, Y5
	VPAND      Y12, Y5, Y5
	VPSHUFB    Y5, Y10, Y5
	VPAND      Y4, Y5, Y4        // faults of pairs; 0x80 is two bytes that continue
	VPALIGNR   $14, Y2, Y0, Y3
	VPSUBUSB   Y13, Y3, Y3
	VPALIGNR   $13, Y2, Y0, Y5
	VPSUBUSB   Y14, Y5, Y5
	VPOR       Y3, Y5, Y3
	VPAND      Y15, Y3, Y3       // where two bytes that continue must be
	VPXOR      Y3, Y4, Y4
	VPOR       Y4, Y7, Y7
	VPSUBUSB   Y11, Y0, Y6

validNext:
	VMOVDQA Y0, Y1
	ADDQ    $32, SI
	DECQ    CX
	JNZ     validLoop
	VPTEST  Y7, Y7
	SETEQ   ret+16(FP)
	VZEROUPPER
	RET
