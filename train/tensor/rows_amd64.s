#include "go_asm.h"
#include "textflag.h"

// Row operations on YMM registers, eight values at a time. The last len%8 values go through the
// same instructions under a mask, so a value's result does not depend on its place in the row.

// eight set lanes, then eight clear ones
DATA laneMask<>+0(SB)/8, $-1
DATA laneMask<>+8(SB)/8, $-1
DATA laneMask<>+16(SB)/8, $-1
DATA laneMask<>+24(SB)/8, $-1
DATA laneMask<>+32(SB)/8, $0
DATA laneMask<>+40(SB)/8, $0
DATA laneMask<>+48(SB)/8, $0
DATA laneMask<>+56(SB)/8, $0
GLOBL laneMask<>(SB), RODATA|NOPTR, $64

// MASK sets M's first CX lanes, 0 < CX < 8.
#define MASK(M) \
	LEAQ    laneMask<>+32(SB), R9; \
	SHLQ    $2, CX;                \
	SUBQ    CX, R9;                \
	VMOVUPS (R9), M

// SUMLANES adds up Y0's lanes in X0, by a fixed tree; it uses X1.
#define SUMLANES \
	VEXTRACTF128 $1, Y0, X1; \
	VADDPS       X1, X0, X0; \
	VHADDPS      X0, X0, X0; \
	VHADDPS      X0, X0, X0

// Constants of EXP: the reduction and polynomial of Cephes' expf, and the limits of exp32.
DATA expTable<>+0(SB)/4, $1.44269504
DATA expTable<>+4(SB)/4, $0.693359375
DATA expTable<>+8(SB)/4, $-2.12194440e-4
DATA expTable<>+12(SB)/4, $5.0000001201e-1
DATA expTable<>+16(SB)/4, $1.6666665459e-1
DATA expTable<>+20(SB)/4, $4.1665795894e-2
DATA expTable<>+24(SB)/4, $8.3334519073e-3
DATA expTable<>+28(SB)/4, $1.3981999507e-3
DATA expTable<>+32(SB)/4, $1.9875691500e-4
DATA expTable<>+36(SB)/4, $1.0
DATA expTable<>+40(SB)/4, $-87.33
DATA expTable<>+44(SB)/4, $88.376
DATA expTable<>+48(SB)/4, $0x7f800000
DATA expTable<>+52(SB)/4, $0x80000000
GLOBL expTable<>(SB), RODATA|NOPTR, $56

// EXPLOAD fills Y6..Y14 for EXP.
#define EXPLOAD \
	VBROADCASTSS expTable<>+4(SB), Y14;  \
	VBROADCASTSS expTable<>+8(SB), Y13;  \
	VBROADCASTSS expTable<>+12(SB), Y12; \
	VBROADCASTSS expTable<>+16(SB), Y11; \
	VBROADCASTSS expTable<>+20(SB), Y10; \
	VBROADCASTSS expTable<>+24(SB), Y9;  \
	VBROADCASTSS expTable<>+28(SB), Y8;  \
	VBROADCASTSS expTable<>+32(SB), Y7;  \
	VBROADCASTSS expTable<>+36(SB), Y6

// EXP sets Y2 = exp(Y0), with 0 below and +Inf above the limits; it uses Y0..Y5.
#define EXP \
	VBROADCASTSS expTable<>+40(SB), Y5; \
	VCMPPS       $1, Y5, Y0, Y3;        \
	VBROADCASTSS expTable<>+44(SB), Y5; \
	VCMPPS       $14, Y5, Y0, Y4;       \
	VBROADCASTSS expTable<>+0(SB), Y5;  \
	VMULPS       Y5, Y0, Y1;            \
	VROUNDPS     $0, Y1, Y1;            \
	VFNMADD231PS Y14, Y1, Y0;           \
	VFNMADD231PS Y13, Y1, Y0;           \
	VMOVAPS      Y7, Y2;                \
	VFMADD213PS  Y8, Y0, Y2;            \
	VFMADD213PS  Y9, Y0, Y2;            \
	VFMADD213PS  Y10, Y0, Y2;           \
	VFMADD213PS  Y11, Y0, Y2;           \
	VFMADD213PS  Y12, Y0, Y2;           \
	VMULPS       Y0, Y0, Y5;            \
	VFMADD213PS  Y0, Y5, Y2;            \
	VADDPS       Y6, Y2, Y2;            \
	VCVTPS2DQ    Y1, Y1;                \
	VPSLLD       $23, Y1, Y1;           \
	VPADDD       Y1, Y2, Y2;            \
	VBROADCASTSS expTable<>+48(SB), Y5; \
	VANDNPS      Y2, Y3, Y2;            \
	VBLENDVPS    Y4, Y5, Y2, Y2

// func expSumAVX2(dst, x []float32, scale, offset float32) float32
TEXT ·expSumAVX2(SB), NOSPLIT, $0-60
	MOVQ   dst_base+0(FP), DI
	MOVQ   dst_len+8(FP), CX
	MOVQ   x_base+24(FP), SI
	EXPLOAD
	VXORPS X15, X15, X15

expSumAVX2Step:
	CMPQ         CX, $8
	JLT          expSumAVX2Tail
	VMOVUPS      (SI), Y0
	VBROADCASTSS scale+48(FP), Y1
	VBROADCASTSS offset+52(FP), Y5
	VFMADD213PS  Y5, Y1, Y0
	EXP
	VADDPS       Y2, Y15, Y15
	VMOVUPS      Y2, (DI)
	ADDQ         $32, DI
	ADDQ         $32, SI
	SUBQ         $8, CX
	JMP          expSumAVX2Step

expSumAVX2Tail:
	TESTQ        CX, CX
	JZ           expSumAVX2Done
	MASK(Y4)
	VMASKMOVPS   (SI), Y4, Y0
	VBROADCASTSS scale+48(FP), Y1
	VBROADCASTSS offset+52(FP), Y5
	VFMADD213PS  Y5, Y1, Y0
	EXP
	VMOVUPS      (R9), Y4
	VANDPS       Y4, Y2, Y2
	VADDPS       Y2, Y15, Y15
	VMASKMOVPS   Y2, Y4, (DI)

expSumAVX2Done:
	VMOVAPS Y15, Y0
	SUMLANES
	VMOVSS  X0, ret+56(FP)
	VZEROUPPER
	RET

DATA lowest<>+0(SB)/4, $0xff800000
GLOBL lowest<>(SB), RODATA|NOPTR, $4

// func maxAVX2(x []float32) float32
TEXT ·maxAVX2(SB), NOSPLIT, $0-28
	MOVQ         x_base+0(FP), SI
	MOVQ         x_len+8(FP), CX
	VBROADCASTSS lowest<>(SB), Y15
	VMOVAPS      Y15, Y1

maxAVX2Step:
	CMPQ    CX, $8
	JLT     maxAVX2Tail
	VMOVUPS (SI), Y0
	VMAXPS  Y1, Y0, Y1
	ADDQ    $32, SI
	SUBQ    $8, CX
	JMP     maxAVX2Step

maxAVX2Tail:
	TESTQ      CX, CX
	JZ         maxAVX2Done
	MASK(Y4)
	VMASKMOVPS (SI), Y4, Y0
	VBLENDVPS  Y4, Y0, Y15, Y0
	VMAXPS     Y1, Y0, Y1

maxAVX2Done:
	VEXTRACTF128 $1, Y1, X0
	VMAXPS       X1, X0, X0
	VPERMILPS    $14, X0, X1
	VMAXPS       X1, X0, X0
	VPERMILPS    $1, X0, X1
	VMAXPS       X1, X0, X0
	VMOVSS       X0, ret+24(FP)
	VZEROUPPER
	RET

// func dotAVX2(x, y []float32) float32
TEXT ·dotAVX2(SB), NOSPLIT, $0-52
	MOVQ   x_base+0(FP), SI
	MOVQ   x_len+8(FP), CX
	MOVQ   y_base+24(FP), DX
	VXORPS X0, X0, X0
	VXORPS X1, X1, X1
	VXORPS X2, X2, X2
	VXORPS X3, X3, X3

dotAVX2Four:
	CMPQ        CX, $32
	JLT         dotAVX2Step
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VFMADD231PS (DX), Y4, Y0
	VFMADD231PS 32(DX), Y5, Y1
	VFMADD231PS 64(DX), Y6, Y2
	VFMADD231PS 96(DX), Y7, Y3
	ADDQ        $128, SI
	ADDQ        $128, DX
	SUBQ        $32, CX
	JMP         dotAVX2Four

dotAVX2Step:
	CMPQ        CX, $8
	JLT         dotAVX2Tail
	VMOVUPS     (SI), Y4
	VFMADD231PS (DX), Y4, Y0
	ADDQ        $32, SI
	ADDQ        $32, DX
	SUBQ        $8, CX
	JMP         dotAVX2Step

dotAVX2Tail:
	TESTQ       CX, CX
	JZ          dotAVX2Done
	MASK(Y6)
	VMASKMOVPS  (SI), Y6, Y4
	VMASKMOVPS  (DX), Y6, Y5
	VFMADD231PS Y5, Y4, Y1

dotAVX2Done:
	VADDPS Y1, Y0, Y0
	VADDPS Y3, Y2, Y2
	VADDPS Y2, Y0, Y0
	SUMLANES
	VMOVSS X0, ret+48(FP)
	VZEROUPPER
	RET

// func axpyAVX2(dst, x []float32, a float32)
TEXT ·axpyAVX2(SB), NOSPLIT, $0-52
	MOVQ         dst_base+0(FP), DI
	MOVQ         dst_len+8(FP), CX
	MOVQ         x_base+24(FP), SI
	VBROADCASTSS a+48(FP), Y15

axpyAVX2Step:
	CMPQ        CX, $8
	JLT         axpyAVX2Tail
	VMOVUPS     (DI), Y0
	VMOVUPS     (SI), Y1
	VFMADD231PS Y1, Y15, Y0
	VMOVUPS     Y0, (DI)
	ADDQ        $32, DI
	ADDQ        $32, SI
	SUBQ        $8, CX
	JMP         axpyAVX2Step

axpyAVX2Tail:
	TESTQ       CX, CX
	JZ          axpyAVX2Done
	MASK(Y2)
	VMASKMOVPS  (DI), Y2, Y0
	VMASKMOVPS  (SI), Y2, Y1
	VFMADD231PS Y1, Y15, Y0
	VMASKMOVPS  Y0, Y2, (DI)

axpyAVX2Done:
	VZEROUPPER
	RET

// func scaleAVX2(x []float32, a float32)
TEXT ·scaleAVX2(SB), NOSPLIT, $0-28
	MOVQ         x_base+0(FP), DI
	MOVQ         x_len+8(FP), CX
	VBROADCASTSS a+24(FP), Y15

scaleAVX2Step:
	CMPQ    CX, $8
	JLT     scaleAVX2Tail
	VMOVUPS (DI), Y0
	VMULPS  Y0, Y15, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, DI
	SUBQ    $8, CX
	JMP     scaleAVX2Step

scaleAVX2Tail:
	TESTQ      CX, CX
	JZ         scaleAVX2Done
	MASK(Y2)
	VMASKMOVPS (DI), Y2, Y0
	VMULPS     Y0, Y15, Y0
	VMASKMOVPS Y0, Y2, (DI)

scaleAVX2Done:
	VZEROUPPER
	RET

// func mulAVX2(dst, x, y []float32, a float32)
TEXT ·mulAVX2(SB), NOSPLIT, $0-76
	MOVQ         dst_base+0(FP), DI
	MOVQ         dst_len+8(FP), CX
	MOVQ         x_base+24(FP), SI
	MOVQ         y_base+48(FP), DX
	VBROADCASTSS a+72(FP), Y15

mulAVX2Step:
	CMPQ    CX, $8
	JLT     mulAVX2Tail
	VMOVUPS (SI), Y0
	VMOVUPS (DX), Y1
	VMULPS  Y0, Y15, Y0
	VMULPS  Y1, Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, DI
	ADDQ    $32, SI
	ADDQ    $32, DX
	SUBQ    $8, CX
	JMP     mulAVX2Step

mulAVX2Tail:
	TESTQ      CX, CX
	JZ         mulAVX2Done
	MASK(Y2)
	VMASKMOVPS (SI), Y2, Y0
	VMASKMOVPS (DX), Y2, Y1
	VMULPS     Y0, Y15, Y0
	VMULPS     Y1, Y0, Y0
	VMASKMOVPS Y0, Y2, (DI)

mulAVX2Done:
	VZEROUPPER
	RET

// func mulAddAVX2(dst, x, y []float32, a float32)
TEXT ·mulAddAVX2(SB), NOSPLIT, $0-76
	MOVQ         dst_base+0(FP), DI
	MOVQ         dst_len+8(FP), CX
	MOVQ         x_base+24(FP), SI
	MOVQ         y_base+48(FP), DX
	VBROADCASTSS a+72(FP), Y15

mulAddAVX2Step:
	CMPQ        CX, $8
	JLT         mulAddAVX2Tail
	VMOVUPS     (SI), Y0
	VMOVUPS     (DX), Y1
	VMOVUPS     (DI), Y3
	VMULPS      Y0, Y15, Y0
	VFMADD213PS Y3, Y1, Y0
	VMOVUPS     Y0, (DI)
	ADDQ        $32, DI
	ADDQ        $32, SI
	ADDQ        $32, DX
	SUBQ        $8, CX
	JMP         mulAddAVX2Step

mulAddAVX2Tail:
	TESTQ       CX, CX
	JZ          mulAddAVX2Done
	MASK(Y2)
	VMASKMOVPS  (SI), Y2, Y0
	VMASKMOVPS  (DX), Y2, Y1
	VMASKMOVPS  (DI), Y2, Y3
	VMULPS      Y0, Y15, Y0
	VFMADD213PS Y3, Y1, Y0
	VMASKMOVPS  Y0, Y2, (DI)

mulAddAVX2Done:
	VZEROUPPER
	RET

// func softmaxBackAVX2(grad, probs []float32, mean, scale float32)
TEXT ·softmaxBackAVX2(SB), NOSPLIT, $0-56
	MOVQ         grad_base+0(FP), DI
	MOVQ         grad_len+8(FP), CX
	MOVQ         probs_base+24(FP), SI
	VBROADCASTSS mean+48(FP), Y15
	VBROADCASTSS scale+52(FP), Y14

softmaxBackAVX2Step:
	CMPQ    CX, $8
	JLT     softmaxBackAVX2Tail
	VMOVUPS (DI), Y0
	VMOVUPS (SI), Y1
	VSUBPS  Y15, Y0, Y0
	VMULPS  Y14, Y1, Y1
	VMULPS  Y1, Y0, Y0
	VMOVUPS Y0, (DI)
	ADDQ    $32, DI
	ADDQ    $32, SI
	SUBQ    $8, CX
	JMP     softmaxBackAVX2Step

softmaxBackAVX2Tail:
	TESTQ      CX, CX
	JZ         softmaxBackAVX2Done
	MASK(Y2)
	VMASKMOVPS (DI), Y2, Y0
	VMASKMOVPS (SI), Y2, Y1
	VSUBPS     Y15, Y0, Y0
	VMULPS     Y14, Y1, Y1
	VMULPS     Y1, Y0, Y0
	VMASKMOVPS Y0, Y2, (DI)

softmaxBackAVX2Done:
	VZEROUPPER
	RET

// func rotateAVX2(a, b, cos, sin []float32)
TEXT ·rotateAVX2(SB), NOSPLIT, $0-96
	MOVQ a_base+0(FP), DI
	MOVQ a_len+8(FP), CX
	MOVQ b_base+24(FP), SI
	MOVQ cos_base+48(FP), DX
	MOVQ sin_base+72(FP), BX

rotateAVX2Step:
	CMPQ        CX, $8
	JLT         rotateAVX2Tail
	VMOVUPS     (DI), Y0
	VMOVUPS     (SI), Y1
	VMOVUPS     (DX), Y2
	VMOVUPS     (BX), Y3
	VMULPS      Y3, Y1, Y4
	VMULPS      Y3, Y0, Y5
	VFMSUB213PS Y4, Y2, Y0
	VFMADD213PS Y5, Y2, Y1
	VMOVUPS     Y0, (DI)
	VMOVUPS     Y1, (SI)
	ADDQ        $32, DI
	ADDQ        $32, SI
	ADDQ        $32, DX
	ADDQ        $32, BX
	SUBQ        $8, CX
	JMP         rotateAVX2Step

rotateAVX2Tail:
	TESTQ       CX, CX
	JZ          rotateAVX2Done
	MASK(Y6)
	VMASKMOVPS  (DI), Y6, Y0
	VMASKMOVPS  (SI), Y6, Y1
	VMASKMOVPS  (DX), Y6, Y2
	VMASKMOVPS  (BX), Y6, Y3
	VMULPS      Y3, Y1, Y4
	VMULPS      Y3, Y0, Y5
	VFMSUB213PS Y4, Y2, Y0
	VFMADD213PS Y5, Y2, Y1
	VMASKMOVPS  Y0, Y6, (DI)
	VMASKMOVPS  Y1, Y6, (SI)

rotateAVX2Done:
	VZEROUPPER
	RET

// func swigluAVX2(dst, gate, up []float32)
TEXT ·swigluAVX2(SB), NOSPLIT, $0-72
	MOVQ dst_base+0(FP), DI
	MOVQ dst_len+8(FP), CX
	MOVQ gate_base+24(FP), SI
	MOVQ up_base+48(FP), DX
	EXPLOAD

swigluAVX2Step:
	CMPQ         CX, $8
	JLT          swigluAVX2Tail
	VMOVUPS      (SI), Y0
	VBROADCASTSS expTable<>+52(SB), Y1
	VXORPS       Y1, Y0, Y0
	EXP
	VADDPS       Y6, Y2, Y2
	VMOVUPS      (SI), Y0
	VDIVPS       Y2, Y0, Y0
	VMULPS       (DX), Y0, Y0
	VMOVUPS      Y0, (DI)
	ADDQ         $32, DI
	ADDQ         $32, SI
	ADDQ         $32, DX
	SUBQ         $8, CX
	JMP          swigluAVX2Step

swigluAVX2Tail:
	TESTQ        CX, CX
	JZ           swigluAVX2Done
	MASK(Y15)
	VMASKMOVPS   (SI), Y15, Y0
	VBROADCASTSS expTable<>+52(SB), Y1
	VXORPS       Y1, Y0, Y0
	EXP
	VADDPS       Y6, Y2, Y2
	VMASKMOVPS   (SI), Y15, Y0
	VMASKMOVPS   (DX), Y15, Y1
	VDIVPS       Y2, Y0, Y0
	VMULPS       Y1, Y0, Y0
	VMASKMOVPS   Y0, Y15, (DI)

swigluAVX2Done:
	VZEROUPPER
	RET

// func swigluBackAVX2(grad, gate, up []float32)
//
// With s = sigmoid(gate): dgate = grad up (s + gate s (1-s)), dup = grad gate s.
TEXT ·swigluBackAVX2(SB), NOSPLIT, $0-72
	MOVQ grad_base+0(FP), BX
	MOVQ grad_len+8(FP), CX
	MOVQ gate_base+24(FP), DI
	MOVQ up_base+48(FP), SI
	EXPLOAD

swigluBackAVX2Step:
	CMPQ         CX, $8
	JLT          swigluBackAVX2Tail
	VMOVUPS      (DI), Y0
	VBROADCASTSS expTable<>+52(SB), Y1
	VXORPS       Y1, Y0, Y0
	EXP
	VADDPS       Y6, Y2, Y2
	VMOVUPS      (DI), Y0
	VMOVUPS      (SI), Y1
	VMOVUPS      (BX), Y3
	VDIVPS       Y2, Y6, Y2
	VMULPS       Y2, Y0, Y4
	VSUBPS       Y2, Y6, Y5
	VFMADD213PS  Y2, Y4, Y5
	VMULPS       Y3, Y1, Y1
	VMULPS       Y5, Y1, Y1
	VMULPS       Y4, Y3, Y3
	VMOVUPS      Y1, (DI)
	VMOVUPS      Y3, (SI)
	ADDQ         $32, BX
	ADDQ         $32, DI
	ADDQ         $32, SI
	SUBQ         $8, CX
	JMP          swigluBackAVX2Step

swigluBackAVX2Tail:
	TESTQ        CX, CX
	JZ           swigluBackAVX2Done
	MASK(Y15)
	VMASKMOVPS   (DI), Y15, Y0
	VBROADCASTSS expTable<>+52(SB), Y1
	VXORPS       Y1, Y0, Y0
	EXP
	VADDPS       Y6, Y2, Y2
	VMASKMOVPS   (DI), Y15, Y0
	VMASKMOVPS   (SI), Y15, Y1
	VMASKMOVPS   (BX), Y15, Y3
	VDIVPS       Y2, Y6, Y2
	VMULPS       Y2, Y0, Y4
	VSUBPS       Y2, Y6, Y5
	VFMADD213PS  Y2, Y4, Y5
	VMULPS       Y3, Y1, Y1
	VMULPS       Y5, Y1, Y1
	VMULPS       Y4, Y3, Y3
	VMASKMOVPS   Y1, Y15, (DI)
	VMASKMOVPS   Y3, Y15, (SI)

swigluBackAVX2Done:
	VZEROUPPER
	RET

// func adamwAVX2(w, g, m, v []float32, c *adamwFactors)
TEXT ·adamwAVX2(SB), NOSPLIT, $0-104
	MOVQ         w_base+0(FP), DI
	MOVQ         w_len+8(FP), CX
	MOVQ         g_base+24(FP), SI
	MOVQ         m_base+48(FP), DX
	MOVQ         v_base+72(FP), R8
	MOVQ         c+96(FP), BX
	VBROADCASTSS adamwFactors_gradScale(BX), Y7
	VBROADCASTSS adamwFactors_beta1(BX), Y8
	VBROADCASTSS adamwFactors_beta1Rest(BX), Y9
	VBROADCASTSS adamwFactors_beta2(BX), Y10
	VBROADCASTSS adamwFactors_beta2Rest(BX), Y11
	VBROADCASTSS adamwFactors_rootScale(BX), Y12
	VBROADCASTSS adamwFactors_epsilon(BX), Y13
	VBROADCASTSS adamwFactors_decay(BX), Y14
	VBROADCASTSS adamwFactors_step(BX), Y15

adamwAVX2Step:
	CMPQ        CX, $8
	JLT         adamwAVX2Tail
	VMOVUPS     (DI), Y0
	VMOVUPS     (SI), Y1
	VMOVUPS     (DX), Y2
	VMOVUPS     (R8), Y3
	VMULPS      Y7, Y1, Y1
	VMULPS      Y8, Y2, Y2
	VFMADD231PS Y1, Y9, Y2
	VMULPS      Y11, Y1, Y4
	VMULPS      Y10, Y3, Y3
	VFMADD231PS Y4, Y1, Y3
	VSQRTPS     Y3, Y4
	VFMADD213PS Y13, Y12, Y4
	VMULPS      Y15, Y2, Y5
	VDIVPS      Y4, Y5, Y5
	VFMSUB213PS Y5, Y14, Y0
	VMOVUPS     Y0, (DI)
	VMOVUPS     Y2, (DX)
	VMOVUPS     Y3, (R8)
	ADDQ        $32, DI
	ADDQ        $32, SI
	ADDQ        $32, DX
	ADDQ        $32, R8
	SUBQ        $8, CX
	JMP         adamwAVX2Step

adamwAVX2Tail:
	TESTQ       CX, CX
	JZ          adamwAVX2Done
	MASK(Y6)
	VMASKMOVPS  (DI), Y6, Y0
	VMASKMOVPS  (SI), Y6, Y1
	VMASKMOVPS  (DX), Y6, Y2
	VMASKMOVPS  (R8), Y6, Y3
	VMULPS      Y7, Y1, Y1
	VMULPS      Y8, Y2, Y2
	VFMADD231PS Y1, Y9, Y2
	VMULPS      Y11, Y1, Y4
	VMULPS      Y10, Y3, Y3
	VFMADD231PS Y4, Y1, Y3
	VSQRTPS     Y3, Y4
	VFMADD213PS Y13, Y12, Y4
	VMULPS      Y15, Y2, Y5
	VDIVPS      Y4, Y5, Y5
	VFMSUB213PS Y5, Y14, Y0
	VMASKMOVPS  Y0, Y6, (DI)
	VMASKMOVPS  Y2, Y6, (DX)
	VMASKMOVPS  Y3, Y6, (R8)

adamwAVX2Done:
	VZEROUPPER
	RET

// func sumSquaresAVX2(x []float32) float64
TEXT ·sumSquaresAVX2(SB), NOSPLIT, $0-32
	MOVQ   x_base+0(FP), SI
	MOVQ   x_len+8(FP), CX
	VXORPS X0, X0, X0
	VXORPS X1, X1, X1

sumSquaresAVX2Step:
	CMPQ         CX, $8
	JLT          sumSquaresAVX2Tail
	VMOVUPS      (SI), Y2
	VEXTRACTF128 $1, Y2, X3
	VCVTPS2PD    X2, Y2
	VCVTPS2PD    X3, Y3
	VFMADD231PD  Y2, Y2, Y0
	VFMADD231PD  Y3, Y3, Y1
	ADDQ         $32, SI
	SUBQ         $8, CX
	JMP          sumSquaresAVX2Step

sumSquaresAVX2Tail:
	TESTQ        CX, CX
	JZ           sumSquaresAVX2Done
	MASK(Y4)
	VMASKMOVPS   (SI), Y4, Y2
	VEXTRACTF128 $1, Y2, X3
	VCVTPS2PD    X2, Y2
	VCVTPS2PD    X3, Y3
	VFMADD231PD  Y2, Y2, Y0
	VFMADD231PD  Y3, Y3, Y1

sumSquaresAVX2Done:
	VADDPD       Y1, Y0, Y0
	VEXTRACTF128 $1, Y0, X1
	VADDPD       X1, X0, X0
	VHADDPD      X0, X0, X0
	VMOVSD       X0, ret+24(FP)
	VZEROUPPER
	RET
