"""Terms that DICOM defines for the attributes that are read. Only these may be quoted: any other text may hold a name."""

from __future__ import annotations

# PS3.3 C.7.3.1.1.1, with the retired ones
_MODALITIES = """
ANN AR AS ASMT AU BDUS BI BMD CD CF CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DR DS DX EC ECG EEG EMG EOG EPS ES FA FID
FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN
POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF ST
STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC
"""
MODALITIES = frozenset(_MODALITIES.split())
# PS3.16 annex L, and other common spellings
_BODY_PARTS = """
ABDOMEN ABDOMENPELVIS ACJOINT ADRENAL ANKLE ANUS AORTA AORTICARCH APPENDIX ARM AXILLA BACK BILEDUCT BLADDER BRAIN BREAST
BRONCHUS BUTTOCK CALCANEUS CALF CAROTID CEREBELLUM CERVIX CHEEK CLAVICLE COCCYX COLON CORNEA CORONARYARTERY CSPINE CTSPINE
DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FIBULA FINGER FOOT FOREARM FOREFOOT GALLBLADDER HAND HEAD
HEADNECK HEEL HIP HUMERUS IAC ILEUM ILIUM JAW JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LSPINE LSSPINE LUMBARSPINE MANDIBLE
MASTOID MAXILLA MOUTH NASALBONE NECK NOSE ORBIT OVARY PANCREAS PARANASALSINUS PAROTID PATELLA PELVIS PENIS PHARYNX PROSTATE
RADIUS RECTUM SACRUM SCALP SCAPULA SCLERA SCROTUM SHOULDER SIJOINT SINUS SKULL SPINE SPLEEN SSPINE STOMACH TESTIS THIGH
THUMB THYROID TIBIA TLSPINE TMJ TOE TONGUE TSPINE THORACICSPINE CERVICALSPINE ULNA URETER URETHRA UTERUS VAGINA VULVA
WHOLEBODY WRIST ZYGOMA LOWEREXTREMITY UPPEREXTREMITY LOWERLEG LOWERLIMB UPPERLIMB UPPERARM TEETH TOOTH
"""
BODY_PARTS = frozenset(_BODY_PARTS.split())
_CHEST = """
CHEST THORAX TORAX LUNG LUNGS CHESTABDOMEN CHESTABDPELVIS NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV MEDIASTINUM HEART RIB
RIBS STERNUM
"""
CHEST = frozenset(_CHEST.split())
# Anatomic Region Sequence: SNOMED CT codes and the SNOMED-RT ones before them (PS3.16 CID 4, 4009 and annex L)
_REGIONS = {
    "CHEST": "51185008 T-D3000 43799004 T-D3050 302551006",
    "LUNG": "39607008 T-28000",
    "RIB": "113197003 T-11300",
    "HEART": "80891009 T-32000",
    "ABDOMEN": "818981001 818983003 113345001 T-D4000",
    "ANKLE": "70258002 T-15750",
    "BREAST": "76752008 T-04000",
    "CSPINE": "122494005 T-11501",
    "ELBOW": "16953009 T-15430",
    "FINGER": "7569003 T-D8800",
    "FOOT": "56459004 T-D9700",
    "HAND": "85562004 T-D8700",
    "HEAD": "69536005 T-D1100",
    "HIP": "24136001 T-15710",
    "KNEE": "72696002 T-D9200",
    "LSPINE": "122496007 T-11503",
    "NECK": "45048000 T-D1600",
    "PELVIS": "12921003 T-D6000",
    "SHOULDER": "16982005 T-D2220",
    "SKULL": "89546000 T-11100",
    "TSPINE": "122495006 T-11502",
    "WRIST": "74670003 T-15460",
}
REGIONS = {code: term for term, codes in _REGIONS.items() for code in codes.split()}

# View Position (PS3.3 C.8.11.5.1.4), and what is found in practice
FRONTAL, LATERAL, OBLIQUE, DECUBITUS = "frontal", "lateral", "oblique", "decubitus"
VIEWS = {
    "PA": "PA",
    "AP": "AP",
    **dict.fromkeys(("LL", "RL", "LAT", "LATERAL", "LLAT", "RLAT"), "LATERAL"),
    **dict.fromkeys(("LAO", "RAO", "LPO", "RPO", "LLO", "RLO", "OBLIQUE"), OBLIQUE),
    **dict.fromkeys(("LLD", "RLD"), DECUBITUS),
}
# View Code Sequence (PS3.16 CID 4010 and the codes before it): view, and what the code means
VIEW_CODES = {
    **dict.fromkeys(("399348003", "R-10206"), ("AP", "antero-posterior")),
    **dict.fromkeys(("272479007", "R-10214", "R-40888"), ("PA", "postero-anterior")),
    **dict.fromkeys(("399033003", "R-10202"), (FRONTAL, "frontal")),
    **dict.fromkeys(("399067008", "R-102CD"), ("LATERAL", "lateral")),
    **dict.fromkeys(("399198007", "R-10232"), ("LATERAL", "right lateral")),
    **dict.fromkeys(("399173006", "R-10236"), ("LATERAL", "left lateral")),
    **dict.fromkeys(("399260004", "R-10224"), ("LATERAL", "medial-lateral")),
    **dict.fromkeys(("399352003", "R-10228"), ("LATERAL", "lateral-medial")),
    **dict.fromkeys(("399182000", "R-102C1"), (OBLIQUE, "oblique")),
    **dict.fromkeys(("399184004", "R-10238"), (OBLIQUE, "left oblique")),
    **dict.fromkeys(("399236003", "R-10234"), (OBLIQUE, "right oblique")),
    **dict.fromkeys(("399312000", "R-10208"), (OBLIQUE, "antero-posterior oblique")),
    **dict.fromkeys(("399059000", "R-10216"), (OBLIQUE, "postero-anterior oblique")),
    **dict.fromkeys(("399135007", "R-10220"), (OBLIQUE, "left anterior oblique")),
    **dict.fromkeys(("399356000", "R-40985"), (OBLIQUE, "right anterior oblique")),
    **dict.fromkeys(("399006002", "R-10212"), (OBLIQUE, "left posterior oblique")),
    **dict.fromkeys(("399038007", "R-10210"), (OBLIQUE, "right posterior oblique")),
}
SCHEMES = frozenset(("SCT", "SRT", "SNM3", "99SDM", ""))  # SNOMED's names in DICOM; often left out
