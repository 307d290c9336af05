"""The data sets we know by name: what they hold, how they lie, who split them, under what terms."""

from dataclasses import dataclass

from hidiff.datasets import layouts
from hidiff.datasets.sets.brain import BRAIN_LABELS
from hidiff.datasets.sets.synthetic import SYNTHETIC_LABELS
from hidiff.images.intensity import Intensity
from hidiff.labels import Labels


@dataclass(frozen=True)
class Contents:
    """The number of cases, groups and raters of a whole data set, over all its splits."""

    cases: int
    groups: int
    """patients, or what else stays together"""
    raters: int = 1


@dataclass(frozen=True)
class CatalogEntry:
    """One data set. What only the user knows (labels, channels, intensity) is None."""

    title: str
    modality: str
    layout: str
    """layout of the folder that training reads"""
    split: str
    labels: Labels | None
    channels: int | None
    terms: str
    list_cases: layouts.Layout
    intensity: Intensity | None = None
    augmentation: str = ""
    """a preset's name, or what the recipe spells out"""
    holds: Contents | None = None
    citation: str = ""
    recipe: str = ""
    """that comes with HiDiff"""
    fields_of_view: bool = False
    """True if its cases may have one"""

    @property
    def classes(self) -> str:
        """The names of its classes, such as "RV, MYO, LV"; "yours" where only the user knows."""
        return ", ".join(self.labels.class_names) if self.labels else "yours"


_VESSEL = Labels(kind="one_class", classes={"vessel": (255,)})
_POLYP = Labels(kind="one_class", classes={"polyp": (255,)}, threshold=127)
_BY_SEED = "lists, else 70, 10, 20 % by seed"

CATALOG: dict[str, CatalogEntry] = {
    "synapse": CatalogEntry(
        title="Synapse multi-organ CT, as TransUNet prepared it",
        modality="CT of the abdomen",
        layout="images/, masks/ of slices (npy); test/images/, test/masks/ of volumes (NIfTI)",
        split="18 patients train, of whom two or three validate; 12 volumes test",
        labels=Labels(
            kind="exclusive",
            classes={
                "aorta": (1,),
                "gallbladder": (2,),
                "left_kidney": (3,),
                "right_kidney": (4,),
                "liver": (5,),
                "pancreas": (6,),
                "spleen": (7,),
                "stomach": (8,),
            },
        ),
        channels=1,
        intensity=Intensity(full_scale=1.0),
        augmentation="affine, brightness",
        holds=Contents(cases=2223, groups=30),
        terms="registration at synapse.org (BTCV)",
        citation="Landman et al., MICCAI multi-atlas labeling beyond the cranial vault, 2015; "
        "Chen et al., TransUNet, arXiv 2102.04306",
        recipe="synapse",
        list_cases=layouts.list_synapse,
    ),
    "brats": CatalogEntry(
        title="BraTS 2021",
        modality="MRI of the brain: t1, t1ce, t2, flair",
        layout="BraTS2021_00000/BraTS2021_00000_t1.nii.gz and so on, a folder a patient; or, as "
        "BraTS 2023, BraTS-GLI-00000-000/BraTS-GLI-00000-000-t1n.nii.gz and so on, where the "
        "enhancing tumour has the value 3: set labels.classes",
        split=_BY_SEED,
        labels=Labels(
            kind="exclusive", classes={"necrosis": (1,), "edema": (2,), "enhancing": (4,)}
        ),
        channels=4,
        intensity=Intensity(kind="zscore"),
        augmentation="mri",
        holds=Contents(cases=1251, groups=1251),
        terms="registration at synapse.org",
        citation="Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 benchmark, arXiv 2107.02314",
        recipe="brats",
        list_cases=layouts.list_brats,
    ),
    "kvasir_seg": CatalogEntry(
        title="Kvasir-SEG",
        modality="endoscopy",
        layout="images/, masks/, as published; or the two in train/, validation/ and test/",
        split=_BY_SEED + "; as the folders say where it comes split",
        labels=_POLYP,
        channels=3,
        intensity=Intensity(),
        augmentation="endoscopy",
        holds=Contents(cases=1000, groups=1000),
        terms="research and education",
        citation="Jha et al., Kvasir-SEG: a segmented polyp dataset, MultiMedia Modeling 2020",
        recipe="kvasir_seg",
        list_cases=layouts.list_kvasir_seg,
    ),
    "cvc_clinicdb": CatalogEntry(
        title="CVC-ClinicDB",
        modality="endoscopy",
        layout="Original/, Ground Truth/ of TIFF; or the two in PNG/, of PNG",
        split=_BY_SEED
        + ", whole sequences by the publisher's table, or by a sequences.txt of lines "
        "such as 1-25",
        labels=_POLYP,
        channels=3,
        intensity=Intensity(),
        augmentation="endoscopy",
        holds=Contents(cases=612, groups=29),
        terms="research",
        citation="Bernal et al., WM-DOVA maps for accurate polyp highlighting in colonoscopy, "
        "Computerized Medical Imaging and Graphics 43, 2015",
        recipe="cvc_clinicdb",
        list_cases=layouts.list_cvc_clinicdb,
    ),
    "drive": CatalogEntry(
        title="DRIVE",
        modality="retinal photograph",
        layout="training/, test/ with images/, 1st_manual/, mask/, as published",
        split="official: 20 train, of whom 4 validate, 20 test",
        labels=_VESSEL,
        channels=3,
        intensity=Intensity(),
        augmentation="retina",
        holds=Contents(cases=40, groups=40),
        terms="research",
        citation="Staal et al., Ridge-based vessel segmentation in color images of the retina, "
        "IEEE Transactions on Medical Imaging 23(4), 2004",
        recipe="drive",
        fields_of_view=True,
        list_cases=layouts.list_drive,
    ),
    "chase_db1": CatalogEntry(
        title="CHASE_DB1",
        modality="retinal photograph",
        layout="images/, 1st_manual/, perhaps mask/",
        split="the usual: the first 20 train, of whom 4 validate, the last 8 test; by child",
        labels=_VESSEL,
        channels=3,
        intensity=Intensity(),
        augmentation="retina",
        holds=Contents(cases=28, groups=14),
        terms="CC BY 4.0",
        citation="Fraz et al., An ensemble classification-based approach applied to retinal blood "
        "vessel segmentation, IEEE Transactions on Biomedical Engineering 59(9), 2012",
        recipe="chase_db1",
        fields_of_view=True,
        list_cases=layouts.list_chase_db1,
    ),
    "acdc": CatalogEntry(
        title="ACDC",
        modality="cine MRI of the heart",
        layout="nnU-Net's raw layout",
        split="patients 1-70 train, 71-80 validate, 81-100 test",
        labels=Labels(kind="exclusive", classes={"RV": (1,), "MYO": (2,), "LV": (3,)}),
        channels=1,
        intensity=Intensity(kind="zscore"),
        augmentation="affine, brightness; no flips",
        holds=Contents(cases=100, groups=100),
        terms="CC BY-NC-SA 4.0",
        citation="Bernard et al., Deep Learning Techniques for Automatic MRI Cardiac Multi-"
        "Structures Segmentation and Diagnosis, IEEE Transactions on Medical Imaging 37(11), 2018",
        recipe="acdc",
        list_cases=layouts.list_acdc,
    ),
    "lidc": CatalogEntry(
        title="LIDC-IDRI, crops of nodules",
        modality="CT of the lung",
        layout="images/, masks/rater-1/ to rater-4/, lists",
        split="70, 10, 20 % of the patients, in lists",
        labels=Labels(kind="one_class", classes={"nodule": (255,)}),
        channels=1,
        intensity=Intensity(),
        augmentation="flip_rotate",
        holds=Contents(cases=1340, groups=437, raters=4),
        terms="CC BY 3.0",
        citation="Armato et al., The Lung Image Database Consortium (LIDC) and Image Database "
        "Resource Initiative (IDRI), Medical Physics 38(2), 2011",
        recipe="lidc",
        list_cases=layouts.list_lidc,
    ),
    "ms_lesions": CatalogEntry(
        title="lesions of multiple sclerosis",
        modality="MRI of the brain: t1, t1post, t2, flair",
        layout="patient07/t1.nii.gz and so on, lesions.nii.gz, a folder a patient",
        split=_BY_SEED,
        labels=Labels(kind="one_class", classes={"lesion": (1,)}),
        channels=4,
        intensity=Intensity(kind="zscore"),
        augmentation="mri",
        terms="CC BY",
        list_cases=layouts.list_ms_lesions,
    ),
    "brats_slices": CatalogEntry(
        title="a few slices of BraTS, to try the reader: one patient, so never to judge by",
        modality="MRI of the brain: t1, t1ce, t2, flair",
        layout="training/000001/brats_train_001_t1_080_w.nii.gz and so on, a folder a slice",
        split="all train",
        labels=Labels(
            kind="exclusive", classes={"necrosis": (1,), "edema": (2,), "enhancing": (4,)}
        ),
        channels=4,
        intensity=Intensity(kind="zscore"),
        augmentation="mri",
        terms="BraTS",
        list_cases=layouts.list_brats_slices,
    ),
    "nnunet": CatalogEntry(
        title="a data set in nnU-Net's raw layout",
        modality="any",
        layout="dataset.json, imagesTr/, labelsTr/, perhaps imagesTs/ and labelsTs/",
        split="lists, else by seed; labelsTs/ tests where it is there",
        labels=None,
        channels=None,
        terms="yours",
        list_cases=layouts.list_nnunet_split,
    ),
    "msd": CatalogEntry(
        title="a data set in the Medical Segmentation Decathlon's layout",
        modality="any",
        layout='dataset.json that lists "training": [{"image": ..., "label": ...}]',
        split="lists, else by seed",
        labels=None,
        channels=None,
        terms="yours",
        list_cases=layouts.list_msd_split,
    ),
    "folder": CatalogEntry(
        title="a folder of images and masks",
        modality="any",
        layout="images/, masks/ (or a folder a rater in masks/), perhaps fields_of_view/",
        split="lists, else by seed",
        labels=None,
        channels=None,
        terms="yours",
        recipe="folder",
        fields_of_view=True,
        list_cases=layouts.list_folder,
    ),
    "brain": CatalogEntry(
        title="slices of the MNI152 brain, out of nilearn's wheel",
        modality="MRI, T1",
        layout="made here",
        split="by slabs, in lists",
        labels=BRAIN_LABELS,
        channels=1,
        intensity=Intensity(),
        augmentation="mri",
        terms="ICBM 152: free to use, copy and distribute with its copyright notice",
        citation="Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, "
        "NeuroImage 54(1), 2011",
        recipe="brain",
        list_cases=layouts.list_brain,
    ),
    "synthetic": CatalogEntry(
        title="drawn curves and discs",
        modality="drawing",
        layout="made here",
        split="60, 20, 20 %, in lists",
        labels=SYNTHETIC_LABELS["one_class"],
        channels=3,
        intensity=Intensity(),
        augmentation="flip_rotate",
        terms="none",
        list_cases=layouts.list_folder,
    ),
}
