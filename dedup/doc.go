// Package dedup finds equal and near-equal documents, and documents that overlap
// with held-out text. It works on plain values: it knows no pipeline, and of files only
// the kept index and what it sorts on disk.
//
// # From words to shingles
//
// A document comes in as the 64-bit hashes of its words, in order; which words and
// which hash is the caller's choice, the same for all documents that are compared.
// [Shingles] hashes every run of n words. A document of fewer than n words is one
// shingle of all its words, so that short documents are compared too; a document
// without words has no shingles, hence no signature and no band keys, and is never
// compared with anything. Two different runs of words get one hash with probability
// 2^-64; every result below is exact but for that.
//
// # Near-equal documents
//
// A [Hasher] makes a MinHash signature of Bands*Rows minima (Broder 1997, "On the
// resemblance and containment of documents"), and one key per band of Rows minima
// (Indyk and Motwani 1998; Leskovec, Rajaraman and Ullman, "Mining of Massive
// Datasets", section 3.4). Two documents that share a key are candidates, with the
// probability that [Params.CandidateProbability] states. A candidate proves nothing:
// a [Resolver] compares the shingle sets themselves and follows one rule:
//
//	Documents are visited in keep order. A document is removed, naming its match,
//	exactly if it shares a band key with an already kept document and their Jaccard
//	similarity over distinct shingles reaches verify. Otherwise it is kept.
//
// There is no transitive closure: a removed document never removes another, and each
// removed document names a kept one that it resembles by the stated amount.
//
// # Kernels
//
// A minimum is taken over (a*h + b) mod 2^32 with odd a, h being the low half of a
// shingle hash. [Kernels] lists the implementations that this processor can run; all
// give the same bits.
//
// # Overlap with held-out text
//
// An [OverlapIndex] holds the word n-grams of reference documents (13 words since
// Brown et al. 2020, appendix C) and says whether a document shares one, or is equal
// to a reference as a whole. A [NearIndex] holds references for the rule above.
//
// # Documents of earlier runs
//
// An [Index] is a file of them, of format 2, as it begins and ends with BZKIX02. It is read at
// the places that are asked for, and [IndexFiles] bounds how many files are open.
package dedup
