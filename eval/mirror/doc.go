// Package mirror keeps local copies of the data sets that a network's validators read, file by file.
//
// # Which files a data set has
//
// [List] finds a data set's files on the Hugging Face hub as load_dataset of the library datasets finds them
// (3.0.0, data_files.py, load.py and metadata.py, with fsspec 2023.12 and later): the README's block configs names
// files by configuration and split; without it, or below a data_dir, [SplitFiles] tells splits by the
// names of files. Files are in sorted order of their paths, on which the sharing of rows among nodes depends.
// Only JSONL and Parquet are files of a data set here; a data set that is a script is refused.
//
// # The folder
//
//	mirror.json                    a [Manifest]: every file of each data set in order, also those that are not here
//	PATH/NAME/FILE                 the copies, by the file's path at the hub
//
// A file appears under its name whole and synced, with its SHA-256 compared with what the hub says, and then in the
// manifest. What is here under the same size and entity tag is not fetched again. The manifest's list counts even
// where few files are here: how many files a data set has decides which rows a validator reads. A folder
// without a manifest is one that somebody filled by hand, and has what it has.
package mirror
