/* The tables of CELT's one mode that are smaller as a formula: 12 KB of the
   module. Included before everything else (wasm.env). celt/static_modes_float.h
   leaves out a table whose guard is defined; Rust holds these and fills them
   before the first decoder is made: see src/shell/celt_tables.rs. */
#ifndef SEAMCAST_CELT_TABLES_H
#define SEAMCAST_CELT_TABLES_H
#define DEF_WINDOW120
#define FFT_TWIDDLES48000_960
#define MDCT_TWIDDLES960
/* kiss_fft_state; static_modes_float.h has the four under FFT_TWIDDLES48000_960. */
struct seamcast_fft_state {
  int nfft;
  float scale;
  int shift;
  short factors[16];
  const short *bitrev;
  const void *twiddles;
  void *arch_fft;
};
struct seamcast_celt_tables {
  struct seamcast_fft_state state[4];
  float mdct[1800];
  float fft[960];
  float window[120];
  short bitrev[900];
};
extern const struct seamcast_celt_tables seamcast_celt_tables;
#define window120 (seamcast_celt_tables.window)
#define fft_state48000_960_0 (*(const kiss_fft_state *)&seamcast_celt_tables.state[0])
#define fft_state48000_960_1 (*(const kiss_fft_state *)&seamcast_celt_tables.state[1])
#define fft_state48000_960_2 (*(const kiss_fft_state *)&seamcast_celt_tables.state[2])
#define fft_state48000_960_3 (*(const kiss_fft_state *)&seamcast_celt_tables.state[3])
#define mdct_twiddles960 (seamcast_celt_tables.mdct)
#endif
