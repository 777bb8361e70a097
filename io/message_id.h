// SPDX-License-Identifier: GPL-3.0-or-later
//
// Every failure has an id, EXM-nnn, for scripts, manuals and search engines. The hundreds are the
// exit status (EXM-403: 4, EXM-1101: 11; 0xx: internal, status 10). docs/messages.md lists each id
// with cause and cure; a test compares that page with this file.

#pragma once

namespace extmerge {

enum class MessageId : int {
  kInternal = 1,

  // 1xx: usage
  kUsage = 101,
  kNotConfirmed = 102,
  kExtendNeedsThinSize = 103,

  // 2xx: permission
  kPermission = 201,

  // 3xx: resources
  kNoSpace = 301,
  kTooManyFiles = 302,
  kAioUnavailable = 303,
  kNoMemory = 304,
  kOutputFailed = 305,
  kCommandFailed = 306,
  kPoolFull = 307,
  kCannotLook = 308,
  kNoThreads = 309,

  // 4xx: wrong or unfit device
  kNotFound = 401,
  kNotADevice = 402,
  kReadOnly = 403,
  kSameDevice = 404,
  kStacked = 405,
  kOddSize = 406,
  kTailAlignment = 407,
  kNoMetadataSnapshot = 408,
  kStale = 409,
  kThinIdAbsent = 410,
  kBeyondOrigin = 411,
  kCannotExtend = 412,
  kPathChanged = 413,
  kOriginChanged = 414,
  kOtherSource = 415,
  kMetadataSnapshotGone = 416,
  kSharedOrigin = 417,
  kThinIdReused = 418,
  kSizeChanged = 419,
  kDataDeviceTooSmall = 420,
  kNotAThin = 421,
  kUnfitOrigin = 422,
  kUnfitGroup = 423,
  kTransactionMismatch = 424,
  kUnfitPool = 425,
  kLvmRefused = 426,
  kSnapshotGone = 427,
  kContainer = 428,
  kActivationForbidden = 429,
  kNotInChain = 430,
  kUnfitExport = 431,

  // 5xx: in use
  kInUse = 501,
  kMounted = 502,
  kHeld = 503,
  kPoolActive = 504,
  kLocked = 505,
  kThinNotStill = 506,
  kMetadataSnapshotHeld = 507,
  kThinOpen = 508,
  kMemberInUse = 509,

  // 6xx: journal
  kNoJournal = 601,
  kForeignJournal = 602,
  kDamagedJournal = 603,
  kAlreadyDone = 604,
  kJournalLocked = 605,
  kJournalUnsafe = 606,
  kJournalOnOrigin = 607,
  kJournalVersion = 608,
  kSampleDiffers = 609,
  kHalfMerged = 610,
  kNothingToResume = 611,
  kJournalIo = 612,
  kNotAJournal = 613,
  kNoUndoLog = 614,
  kDamagedUndoLog = 615,
  kUndoLogInTheWay = 616,
  kUndoFirst = 617,
  kNoBase = 618,
  kOtherThin = 619,
  kNotVerified = 620,

  // 7xx: I/O error or stopped, resumable
  kReadFailed = 701,
  kWriteFailed = 702,
  kFlushFailed = 703,
  kStopped = 704,
  kOriginTakenBack = 705,
  kOriginPoolFull = 706,

  // 8xx: verify
  kDiffers = 801,

  // 9xx: pool metadata
  kMetadataDamaged = 901,
  kNeedsCheck = 902,
  kUnsupportedMetadata = 903,
  kMetadataBusy = 904,

  // 11xx: missing now, may exist later
  kGroupAbsent = 1101,
};

}  // namespace extmerge
